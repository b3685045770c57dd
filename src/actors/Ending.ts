/**
 * Whether the server is about to end. Those who wait are then cut off by us and not by their own wish, so what they wait
 * for is neither answered nor given up, but handed on to the server that comes next.
 */
import { Context } from "effect"

export const Ending = Context.Reference<() => boolean>("drover/actors/Ending", { defaultValue: () => () => false })
