import { parseDocument } from 'yaml'
import type { CloudInitOptions } from './options.js'

/** What cloud-init is given by its data source NoCloud, beside what the run adds. */
export interface CloudInitSpec {
  /** Whether the author asked for it: else it is there for an image that may have cloud-init. */
  readonly isGiven: boolean
  /** As cloud-init reads them: whole texts. */
  readonly userData: string | Buffer | undefined
  readonly networkConfig: string | undefined
  readonly metaData: Readonly<Record<string, unknown>>
}

/** How text begins that cloud-init knows what to do with (its documentation, "User-data formats"). */
const HEADS = [
  '#cloud-config',
  '#!',
  '#include',
  '#cloud-boothook',
  '#cloud-config-archive',
  '#part-handler',
  '## template: jinja',
  'Content-Type: multipart/',
  'MIME-Version:',
  'From ',
]
const GZIP = Buffer.from([0x1f, 0x8b])

/** Gives what cloud-init reads of options that were found valid. */
export function resolveCloudInit(options: CloudInitOptions | undefined): CloudInitSpec {
  const { userData, metaData, networkConfig } = options ?? {}
  return {
    isGiven: options !== undefined,
    userData: isMapping(userData) ? `#cloud-config\n${toYaml(userData)}` : userData,
    networkConfig: isMapping(networkConfig) ? toYaml(networkConfig) : networkConfig,
    metaData: typeof metaData === 'string' ? (parseYaml(metaData) ?? {}) : (metaData ?? {}),
  }
}

/** Says what is wrong with user data; undefined if nothing can be told. */
export function findUserDataProblem(userData: unknown): string | undefined {
  if (isMapping(userData)) return undefined
  if (Buffer.isBuffer(userData) && userData.subarray(0, 2).equals(GZIP)) return undefined
  const text = Buffer.isBuffer(userData) ? userData.toString() : userData
  if (typeof text !== 'string') return 'no text and no object'
  const head = HEADS.find((known) => text.toLowerCase().startsWith(known.toLowerCase()))
  if (head === undefined) return `text that begins with ${JSON.stringify(text.slice(0, 30))}`
  return /^#cloud-config\s*\n/.test(text) ? findYamlProblem(text) : undefined
}

/** Says what is wrong with text that has to be a mapping in YAML; undefined if it is one, or has nothing in it. */
export function findYamlProblem(text: string): string | undefined {
  const document = parseDocument(text, { logLevel: 'silent' })
  const error = document.errors[0]
  if (error !== undefined) return error.message.split('\n', 1)[0]?.replace(/:$/, '')
  const content: unknown = document.toJS()
  return content === null || isMapping(content) ? undefined : 'a list or a single value'
}

function parseYaml(text: string): Record<string, unknown> | undefined {
  return parseDocument(text, { logLevel: 'silent' }).toJS() ?? undefined
}

/** JSON is YAML, and cloud-init reads it as that. */
function toYaml(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`
}

export function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) return false
  const prototype = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}
