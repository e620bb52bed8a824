import { isIPv4 } from 'node:net'
import { z } from 'zod'
import { parseDuration } from '../common/duration.js'
import { DISK_FORMATS } from './base-image.js'
import type { VMOptions } from './options.js'
import { PreparedImage } from './prepared-image.js'
import { parseMemorySize } from './units.js'

/**
 * One option's rule: what is expected, in words for the error message, and the check.
 * A rule with words of its own keeps messages free of the schema library's.
 */
function rule<T>(expected: string, isValid: (value: unknown) => boolean) {
  return z.custom<T>((value) => value === undefined || isValid(value), { error: expected }).optional()
}

const isText = (value: unknown): value is string =>
  typeof value === 'string' && value !== '' && !value.includes('\0')
const isCount = (value: unknown, least: number, most: number) =>
  Number.isInteger(value) && (value as number) >= least && (value as number) <= most

const text = (what: string) => rule<string>(`${what}, as text that is not empty`, isText)
const path = (what: string) => rule<string>(`the path of ${what}`, isText)
const flag = () => rule<boolean>('true or false', (value) => typeof value === 'boolean')
const port = () => rule<number>('a port, 1 to 65535', (value) => isCount(value, 1, 65_535))
const duration = () =>
  rule<number>("a time such as '30s', '500ms', '2m', or a number of milliseconds above 0", (value) => {
    return parseDuration(value) !== undefined
  })
const oneOf = (...words: readonly string[]) =>
  rule<string>(words.map((word) => `'${word}'`).join(' or '), (value) => words.includes(value as string))
const texts = (what: string) =>
  rule<readonly string[]>(`a list of ${what}`, (value) => Array.isArray(value) && value.every(isText))

const hexadecimal = (what: string, digits: number) =>
  rule<string>(`${what}: ${digits} hexadecimal digits`, (value) => {
    return typeof value === 'string' && value.length === digits && /^[0-9a-f]+$/i.test(value)
  })

const isWeb = (value: unknown) => isText(value) && /^https?:/i.test(value)
const format = oneOf(...DISK_FORMATS)

const secret = rule<string | { file: string }>('a secret that is not empty, or { file }', (value) => {
  if (typeof value !== 'object' || value === null) return isText(value)
  return Object.keys(value).join() === 'file' && isText((value as { file: unknown }).file)
})

const fileImage = z.strictObject({
  path: z.custom<string>((value) => isText(value) && !isWeb(value), { error: 'the path of an image' }),
  format,
  backingFolders: texts('folders'),
  secret,
})

const urlImage = z
  .strictObject({
    url: z.custom<string>(isPlainWebUrl, {
      error: 'a URL that begins with http: or https:, without a user and a password',
    }),
    sha256: hexadecimal('a SHA-256', 64),
    sha512: hexadecimal('a SHA-512', 128),
    format,
    secret,
  })
  .refine(({ sha256, sha512 }) => (sha256 === undefined) !== (sha512 === undefined), {
    path: ['sha256'],
    error: 'one checksum, `sha256` or `sha512`: what is downloaded has to be what was meant',
  })

/** What would be sent to the server, and stand in messages, has no place for secrets. */
function isPlainWebUrl(value: unknown): boolean {
  if (!isWeb(value) || !URL.canParse(value as string)) return false
  const { username, password } = new URL(value as string)
  return username === '' && password === ''
}

const image = z.union([
  z.instanceof(PreparedImage),
  fileImage,
  urlImage,
  z.custom<string>((value) => isText(value) && !isWeb(value), {
    error: "a recipe's name, a path, { path, format }, or for a URL { url, sha256 }",
  }),
])

const network = z.strictObject({
  internet: flag(),
  model: rule<string>("a network card as QEMU names it, such as 'virtio-net-pci' or 'e1000'", (value) => {
    return typeof value === 'string' && /^[\w.-]+$/.test(value)
  }),
  mac: rule<string>("an address such as '52:54:00:12:34:56'", (value) => {
    return typeof value === 'string' && /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(value)
  }),
  tftp: path('a folder'),
  bootfile: text('a file name'),
})

const hostForward = z.strictObject({
  guest: z.custom<number>((value) => isCount(value, 1, 65_535), { error: 'a port, 1 to 65535' }),
  host: port(),
  protocol: oneOf('tcp', 'udp'),
  bind: rule<string>("an IPv4 address of this host, such as '127.0.0.1'", (value) => {
    return typeof value === 'string' && isIPv4(value)
  }),
})

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
  image: image.optional(),
  name: rule<string>("a name of letters, digits, '.', '_' and '-', up to 60 of them", (value) => {
    return typeof value === 'string' && /^[A-Za-z0-9][\w.-]{0,59}$/.test(value)
  }),
  qemu: path('a QEMU program'),
  accel: oneOf('auto', 'kvm', 'tcg'),
  machine: rule<string>(
    "a machine type, such as 'pc' or 'q35'",
    (value) => isText(value) && /^[\w.-]+$/.test(value),
  ),
  cpu: rule<string>("a CPU model, such as 'max' or 'qemu64,+rdrand'", (value) => {
    return isText(value) && /^[\w.,+=-]+$/.test(value)
  }),
  cpus: rule<number>('a whole number, 1 to 255', (value) => isCount(value, 1, 255)),
  memory: rule<number | string>(
    "an amount of memory such as '512M', '2G', or a number of MiB above 0",
    (value) => {
      return parseMemorySize(value) !== undefined
    },
  ),
  kernel: path('a kernel'),
  initrd: path('an initial RAM file system'),
  append: rule<string | readonly string[]>('kernel arguments, as text or a list of texts', (value) => {
    return isText(value) || (Array.isArray(value) && value.every(isText))
  }),
  boot: rule<string>(
    "a boot order such as 'n' or 'cdn'",
    (value) => typeof value === 'string' && /^[a-p]+$/.test(value),
  ),
  network: network.optional(),
  hostfwd: z.array(hostForward, { error: 'a list such as [{ guest: 80 }]' }).optional(),
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
