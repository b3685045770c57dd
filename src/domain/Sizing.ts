/** How much a build gets that asks for nothing in particular. */
import { Context } from "effect"

export const Sizing = Context.Reference<{ readonly cores: number; readonly memoryBytes: number }>(
  "drover/domain/Sizing",
  {
    defaultValue: () => ({ cores: 1, memoryBytes: 2 * 2 ** 30 })
  }
)
