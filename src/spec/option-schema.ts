import { z } from 'zod'
import { parseDuration } from '../common/duration.js'
import type { VMOptions } from './options.js'
import { bootRules } from './schema/boot.js'
import { debugRules } from './schema/debug.js'
import { deviceRules } from './schema/devices.js'
import { diskRules } from './schema/disks.js'
import { machineRules } from './schema/machine.js'
import { networkRules } from './schema/network.js'
import { duration, flag, isText, oneOf, path, port, rule, text, texts } from './schema/rules.js'

const ssh = z.strictObject({
  user: text('a user name'),
  privateKey: rule<string | Buffer>(
    'a private key as text or bytes',
    (value) => isText(value) || Buffer.isBuffer(value),
  ),
  password: text('a password'),
  port: port(),
  hostPort: port(),
})

const timeouts = z.strictObject({
  start: duration(),
  body: duration(),
  command: duration(),
  shutdown: duration(),
})

/** The shape of {@link VMOptions}. Unknown names are errors at every level. */
export const optionSchema = z.strictObject({
  ...diskRules,
  ...machineRules,
  ...bootRules,
  ...networkRules,
  ...deviceRules,
  ...debugRules,
  name: rule<string>("a name of letters, digits, '.', '_' and '-', up to 60 of them", (value) => {
    return typeof value === 'string' && /^[A-Za-z0-9][\w.-]{0,59}$/.test(value)
  }),
  commandLine: text('a command line of QEMU'),
  qemu: path('a QEMU program'),
  ssh: z.union([z.literal(false), ssh]).optional(),
  start: oneOf('warm', 'cold'),
  standby: flag(),
  ready: rule<VMOptions['ready']>(
    "'ssh', 'agent', 'none', a RegExp for the serial console, or a function",
    (value) => {
      return (
        ['ssh', 'agent', 'none'].includes(value as string) ||
        value instanceof RegExp ||
        typeof value === 'function'
      )
    },
  ),
  timeouts: timeouts.optional(),
  signal: rule<AbortSignal>('an AbortSignal', (value) => value instanceof AbortSignal),
  tmpdir: path('a folder'),
  artifacts: rule<string | false>(
    'the path of a folder, or false',
    (value) => value === false || isText(value),
  ),
  memoryDump: flag(),
  keepOnFailure: rule<boolean | number | string>("true, false, or for how long, as '30m'", (value) => {
    return typeof value === 'boolean' || Number.isFinite(parseDuration(value))
  }),
  qemuArgs: texts('arguments for QEMU'),
  log: rule<VMOptions['log']>('a function that takes a line', (value) => typeof value === 'function'),
})
