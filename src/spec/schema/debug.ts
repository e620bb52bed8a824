import { z } from 'zod'
import { flag, isPort, path, rule } from './rules.js'

/** Schema of the options for debugging. */
export const debugRules = {
  debug: z
    .strictObject({
      paused: flag(),
      gdb: rule<boolean | number>('true, false or a port, 1 to 65535', (value) => {
        return typeof value === 'boolean' || isPort(value)
      }),
      log: rule<readonly string[]>("a list such as ['guest_errors', 'unimp']", (value) => {
        return Array.isArray(value) && value.length > 0 && value.every((item) => /^[\w:*-]+$/.test(item))
      }),
      logFile: path('a file'),
    })
    .optional(),
}
