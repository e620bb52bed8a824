import { malformedResponseError } from './agent-errors.js'

/** Result of `guest-exec-status` (QEMU's qga/qapi-schema.json). */
export interface ExecStatus {
  readonly exited: boolean
  readonly exitcode?: number
  readonly signal?: number
  readonly 'out-data'?: string
  readonly 'err-data'?: string
  readonly 'out-truncated'?: boolean
  readonly 'err-truncated'?: boolean
}

const STATUS_TYPES = {
  exited: 'boolean',
  exitcode: 'number',
  signal: 'number',
  'out-data': 'string',
  'err-data': 'string',
  'out-truncated': 'boolean',
  'err-truncated': 'boolean',
} as const satisfies Record<keyof ExecStatus, string>

/**
 * Validates the result of `guest-exec` and returns the process id.
 *
 * @throws {GuestError} AGENT_FAILED when it contains no valid process id.
 */
export function readPid(reply: unknown): number {
  const pid = (reply as { readonly pid?: unknown } | null | undefined)?.pid
  if (Number.isSafeInteger(pid) && (pid as number) > 0) return pid as number
  throw malformedResponseError(`${describeReply(reply)} as the result of guest-exec`)
}

/**
 * Validates the result of `guest-exec-status`.
 *
 * @throws {GuestError} AGENT_FAILED when a field is missing or has the wrong type.
 */
export function readExecStatus(reply: unknown): ExecStatus {
  const fields = typeof reply === 'object' && reply !== null ? (reply as Record<string, unknown>) : {}
  const isValid =
    'exited' in fields &&
    Object.entries(STATUS_TYPES).every(([name, type]) => {
      return fields[name] === undefined || typeof fields[name] === type
    })
  if (isValid) return fields as unknown as ExecStatus
  throw malformedResponseError(`${describeReply(reply)} as the result of guest-exec-status`)
}

const SHOWN_CHARS = 200

function describeReply(reply: unknown): string {
  // A string may have megabytes.
  const cut = (_: string, value: unknown) => (typeof value === 'string' ? value.slice(0, SHOWN_CHARS) : value)
  return (JSON.stringify(reply, cut) ?? String(reply)).slice(0, SHOWN_CHARS)
}
