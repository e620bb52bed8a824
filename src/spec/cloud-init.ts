import { parseDocument } from 'yaml'
import type { CloudInitOptions } from './options.js'

/** Data for cloud-init's data source NoCloud, without the data that the run adds. */
export interface CloudInitSpec {
  /**
   * True if the option `cloudInit` is set. False: the disk is attached because the image may
   * contain cloud-init.
   */
  readonly isExplicit: boolean
  /** Complete file, as cloud-init reads it. */
  readonly userData: string | Buffer | undefined
  readonly networkConfig: string | undefined
  readonly metaData: Readonly<Record<string, unknown>>
}

/** Headers of user data that cloud-init recognizes (its documentation, "User-data formats"). */
const HEADERS = [
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

/** Converts validated options to the files that cloud-init reads. */
export function resolveCloudInit(options: CloudInitOptions | undefined): CloudInitSpec {
  const { userData, metaData, networkConfig } = options ?? {}
  return {
    isExplicit: options !== undefined,
    userData: isMapping(userData) ? `#cloud-config\n${toYaml(userData)}` : userData,
    networkConfig: isMapping(networkConfig) ? toYaml(networkConfig) : networkConfig,
    metaData: typeof metaData === 'string' ? (parseYaml(metaData) ?? {}) : (metaData ?? {}),
  }
}

/** Returns the problem with user data, or undefined if none is found. */
export function findUserDataProblem(userData: unknown): string | undefined {
  if (isMapping(userData)) return undefined
  if (Buffer.isBuffer(userData) && userData.subarray(0, 2).equals(GZIP)) return undefined
  const text = Buffer.isBuffer(userData) ? userData.toString() : userData
  if (typeof text !== 'string') return 'neither text nor an object'
  const header = HEADERS.find((known) => text.toLowerCase().startsWith(known.toLowerCase()))
  if (header === undefined) return `text that starts with ${JSON.stringify(text.slice(0, 30))}`
  return /^#cloud-config\s*\n/.test(text) ? findYamlProblem(text) : undefined
}

/**
 * Returns the problem with text that must be a YAML mapping, or undefined if it is one or empty.
 */
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

/** Returns JSON, which is valid YAML. */
function toYaml(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`
}

export function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) return false
  const prototype = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}
