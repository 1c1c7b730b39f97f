/** Arguments and variables, as a kernel takes them. */
import { text } from "./reader.ts";

export const noNul = (value: string): boolean => !value.includes("\0");
export const isVariable = (key: string): boolean => /^[A-Za-z_][A-Za-z0-9_]*$/.test(key);
export const argument = (field: string, value: string): string => text(field, value, 32_768, noNul);
