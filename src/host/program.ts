import { requireFiles, toHostError } from '../common/host-error.js'
import { tieHelper } from '../common/process/set-privileges.js'

export interface ProgramResult {
  readonly stdout: string
  readonly stderr: string
  /** Undefined if the program could not be started or was terminated by a signal. */
  readonly exitCode: number | undefined
  /** Reason for a missing exit code. */
  readonly problem: string | undefined
}

/**
 * Runs a program to its end. A failure of the program does not reject.
 *
 * @throws {InfrastructureError} TOOL_NOT_FOUND when `endsWithParent` needs setpriv, which is not
 *   installed.
 * @throws {InfrastructureError} HOST_UNSUITABLE when no more files can be opened.
 */
export async function runProgram(
  path: string,
  args: readonly string[],
  options: {
    readonly timeoutMs: number
    readonly signal?: AbortSignal | undefined
    readonly env?: NodeJS.ProcessEnv | undefined
    readonly input?: string | Uint8Array
    /** If true, the program is killed when this process ends, even by SIGKILL. @default false */
    readonly endsWithParent?: boolean
  },
): Promise<ProgramResult> {
  const { execa } = await import('execa')
  const settings = {
    reject: false,
    timeout: options.timeoutMs,
    killSignal: 'SIGKILL',
    env: { ...(options.env ?? process.env), LC_ALL: 'C' },
    extendEnv: false,
    ...(options.input === undefined ? { stdin: 'ignore' as const } : { input: options.input }),
    ...(options.signal === undefined ? {} : { cancelSignal: options.signal }),
  } as const
  const start = options.endsWithParent
    ? await tieHelper({ file: path, args }, settings)
    : ([path, args, settings] as const)
  requireFiles()
  const result = await execa(...start)
  options.signal?.throwIfAborted()
  const limit = toHostError(result.cause)
  if (limit !== result.cause) throw limit
  const { stdout, stderr, exitCode } = result
  return { stdout, stderr, exitCode, problem: describeProblem(result, options.timeoutMs) }
}

function describeProblem(
  result: {
    readonly timedOut: boolean
    readonly exitCode?: number | undefined
    readonly signal?: string | undefined
    readonly originalMessage?: string | undefined
  },
  timeoutMs: number,
): string | undefined {
  if (result.timedOut) return `a timeout after ${timeoutMs / 1000} s`
  if (result.exitCode !== undefined) return undefined
  if (result.signal !== undefined) return `termination by ${result.signal}`
  return result.originalMessage ?? 'a program that could not be started'
}
