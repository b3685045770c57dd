/**
 * Loaded before npm, which leaves out optional packages that are for a newer Node than the one it runs on. They will
 * run on Node 24, which npm itself is about to bring: `DROVER_NODE_VERSION` names it.
 */
Object.defineProperty(process, "version", { value: process.env.DROVER_NODE_VERSION })
