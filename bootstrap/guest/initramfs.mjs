/**
 * What a machine starts from: the executor as its first program, the sandbox's shell, and the kernel's modules. What they
 * find there is described in `executor/pid1.h`.
 */
import { cpio } from "./cpio.mjs"

/** Modules are told with the file `order` among them. */
export const compose = ({ executor, shell, modules }) =>
  cpio([
    // Where the kernel sends what the executor says before it has a channel.
    { name: "dev", type: "directory", mode: 0o755 },
    { name: "dev/console", type: "device", mode: 0o600, major: 5, minor: 1 },
    { name: "init", type: "file", mode: 0o755, contents: executor },
    { name: "modules", type: "directory", mode: 0o755 },
    ...modules.map(({ name, contents }) => ({ name: `modules/${name}`, type: "file", mode: 0o644, contents })),
    { name: "sh", type: "file", mode: 0o755, contents: shell }
  ])
