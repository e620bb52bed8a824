import { z } from 'zod'
import { flag, path, port, rule } from './rules.js'

/** Debugging. */
export const debugRules = {
  debug: z
    .strictObject({
      paused: flag(),
      gdb: port(),
      log: rule<readonly string[]>("a list such as ['guest_errors', 'unimp']", (value) => {
        return Array.isArray(value) && value.length > 0 && value.every((item) => /^[\w:*-]+$/.test(item))
      }),
      logFile: path('a file'),
    })
    .optional(),
}
