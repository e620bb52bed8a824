import { malformed } from './agent-errors.js'

/** What `guest-exec-status` returns (QEMU's qga/qapi-schema.json). */
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
 * The process that `guest-exec` has started. It is the guest that answers: it may say anything.
 *
 * @throws {GuestError} AGENT_FAILED when it is no number of a process.
 */
export function readPid(answer: unknown): number {
  const pid = (answer as { readonly pid?: unknown } | null | undefined)?.pid
  if (Number.isSafeInteger(pid) && (pid as number) > 0) return pid as number
  throw malformed(`an answer to guest-exec that is ${describe(answer)}`)
}

/**
 * How a process is doing.
 *
 * @throws {GuestError} AGENT_FAILED when the answer is not of that form.
 */
export function readExecStatus(answer: unknown): ExecStatus {
  const fields = typeof answer === 'object' && answer !== null ? (answer as Record<string, unknown>) : {}
  const isOfForm =
    'exited' in fields &&
    Object.entries(STATUS_TYPES).every(([name, type]) => {
      return fields[name] === undefined || typeof fields[name] === type
    })
  if (isOfForm) return fields as unknown as ExecStatus
  throw malformed(`an answer to guest-exec-status that is ${describe(answer)}`)
}

const SHOWN_CHARS = 200

function describe(answer: unknown): string {
  // A text may have megabytes.
  const cut = (_: string, value: unknown) => (typeof value === 'string' ? value.slice(0, SHOWN_CHARS) : value)
  return (JSON.stringify(answer, cut) ?? String(answer)).slice(0, SHOWN_CHARS)
}
