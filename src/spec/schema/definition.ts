import { z } from 'zod'
import { isName, NAME_RULE } from '../guest-name.js'
import { PreparedSource } from '../image-definition.js'
import { imageSource } from './image.js'
import { count, duration, flag, guestMemory, isText, rule, texts } from './rules.js'

const isPath = (value: string) => /^\/[^/]/.test(value) && !value.split('/').includes('..')
const isContent = (value: unknown) => typeof value === 'string' || value instanceof Uint8Array
const isMode = (value: unknown) =>
  value === undefined || (Number.isInteger(value) && (value as number) >= 0 && (value as number) <= 0o7777)

const files = rule<object>(
  "files by absolute path, each a string, bytes, { content, mode: 0o755 } or { path, mode: 0o755 }, such as { '/etc/motd': 'hello' }",
  (value) =>
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    Object.entries(value).every(([path, file]) => isPath(path) && isFile(file)),
)

function isFile(file: unknown): boolean {
  if (isContent(file)) return true
  if (typeof file !== 'object' || file === null) return false
  const { content, path, mode, ...rest } = file as Record<string, unknown>
  const hasOneSource = (content === undefined) !== (path === undefined)
  return (
    hasOneSource &&
    Object.keys(rest).length === 0 &&
    isMode(mode) &&
    (content === undefined ? isText(path) : isContent(content))
  )
}

const functionRule = (what: string) => rule<unknown>(what, (value) => typeof value === 'function')

const guest = z.strictObject({
  memory: guestMemory(),
  cpus: count(1, 255),
  network: z.strictObject({ internet: flag() }).optional(),
  timeouts: z.strictObject({ start: duration(), command: duration(), shutdown: duration() }).optional(),
})

const dependsOn = z.strictObject({ inputs: z.unknown().optional(), files: texts('paths of host files') })

/** Schema of {@link ImageOptions}. Unknown options are errors at every level. */
export const definitionSchema = z.strictObject({
  name: rule<string>(NAME_RULE, isName),
  from: z.union([z.instanceof(PreparedSource), imageSource]).optional(),
  suite: rule<string>("the codename of a release, such as 'bookworm'", (value) => {
    return typeof value === 'string' && /^[a-z]+$/.test(value)
  }),
  arch: rule<string>("'amd64', the only supported architecture", (value) => value === 'amd64'),
  packages: rule<readonly string[]>("a list of packages such as ['nginx-light', 'curl']", (value) => {
    return (
      Array.isArray(value) && value.every((name) => isText(name) && /^[a-z0-9][a-z0-9.+:~=-]*$/i.test(name))
    )
  }),
  files,
  run: texts('shell commands'),
  prepare: functionRule('a function that receives the guest'),
  guest: guest.optional(),
  build: functionRule('a function that builds the disk'),
  dependsOn: dependsOn.optional(),
})
