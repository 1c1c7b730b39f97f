/** See suite.ts: a representative part in every run, all of the matrix by SCENARIOS=all or `main.ts`. */
import { suite } from "./suite.ts";

suite("rolling surge");
suite("rolling in place");
