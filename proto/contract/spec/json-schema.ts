/** The schema as editors read it: JSON Schema 2020-12 of a document before its defaults are filled in. */
import * as z from "zod";
import { serviceDocument } from "./schema.ts";

export function jsonSchema(): Readonly<Record<string, unknown>> {
  return { title: "Baton service document", ...z.toJSONSchema(serviceDocument, { io: "input" }) };
}
