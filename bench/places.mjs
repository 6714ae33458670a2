// Where the bench keeps what it makes: under target/, which git ignores and `cargo clean` removes.
import path from "node:path";
import { root } from "../scripts/stages.mjs";

export const benchRoot = path.join(root, "target", "bench");
export const modelsRoot = path.join(benchRoot, "models");
export const packagesRoot = path.join(benchRoot, "packages");
export const pagesRoot = path.join(root, "bench", "pages");
export const distRoot = path.join(root, "dist");
