import { z } from 'zod'
import { parseDuration } from '../common/duration.js'
import { isName, NAME_RULE } from './guest-name.js'
import type { VMOptions } from './options.js'
import { bootRules } from './schema/boot.js'
import { cloudInit } from './schema/cloud-init.js'
import { debugRules } from './schema/debug.js'
import { deviceRules } from './schema/devices.js'
import { diskRules } from './schema/disks.js'
import { displayRules } from './schema/display.js'
import { login, ssh } from './schema/login.js'
import { machineRules } from './schema/machine.js'
import { networkRules } from './schema/network.js'
import { duration, flag, isMemorySize, isText, oneOf, path, rule, text, texts } from './schema/rules.js'

const timeouts = z.strictObject({
  start: duration(),
  body: duration(),
  command: duration(),
  shutdown: duration(),
})

const size = () =>
  rule<number | string>("an amount such as '512M', '2G', or a number of MiB above 0", isMemorySize)

const limits = z.strictObject({ disk: size(), console: size() })

/** Schema of {@link VMOptions}. Unknown options are errors at every level. */
export const optionSchema = z.strictObject({
  ...diskRules,
  ...machineRules,
  ...bootRules,
  ...networkRules,
  ...displayRules,
  ...deviceRules,
  ...debugRules,
  name: rule<string>(NAME_RULE, isName),
  commandLine: text('a QEMU command line'),
  libvirtXML: text('the XML of a libvirt domain, or its path,'),
  qemu: path('a QEMU program'),
  runAs: rule<string>("a user name, or ids such as '1000:1000'", (value) => {
    return isText(value) && /^(\d{1,9}(:\d{1,9})?|(?!\d*$)[^\s:/-][^\s:/]{0,255})$/.test(value)
  }),
  cloudInit: z.union([z.literal(false), cloudInit]).optional(),
  login: login.optional(),
  ssh: z.union([z.literal(false), ssh]).optional(),
  start: oneOf('warm', 'cold'),
  identity: oneOf('own', 'shared'),
  standby: flag(),
  ready: rule<VMOptions['ready']>(
    "'ssh', 'cloud-init', 'agent', 'login', 'none', a RegExp for the serial console, or a function",
    (value) => {
      return (
        ['ssh', 'cloud-init', 'agent', 'login', 'none'].includes(value as string) ||
        value instanceof RegExp ||
        typeof value === 'function'
      )
    },
  ),
  timeouts: timeouts.optional(),
  limits: limits.optional(),
  signal: rule<AbortSignal>('an AbortSignal', (value) => value instanceof AbortSignal),
  tmpdir: path('a folder'),
  artifacts: rule<string | false>(
    'the path of a folder, or false',
    (value) => value === false || isText(value),
  ),
  memoryDump: flag(),
  keepOnFailure: rule<boolean | number | string>("true, false, or a duration such as '30m'", (value) => {
    return typeof value === 'boolean' || Number.isFinite(parseDuration(value))
  }),
  qemuArgs: texts('arguments for QEMU'),
  log: rule<VMOptions['log']>('a function that receives a line', (value) => typeof value === 'function'),
})
