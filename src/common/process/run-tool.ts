import type { ChildProcess } from 'node:child_process'
import { type ErrorCode, VMError, vmError } from '../../errors.js'
import { requireFiles } from '../host-error.js'
import { asUser } from './as-user.js'
import { pickToolEnvironment } from './environment.js'
import { findProgram } from './find-program.js'
import type { HostUser, Program } from './host-user.js'
import { guardGroup, killGroup } from './process-group.js'
import { LIMITED_ENVIRONMENT, limitTool } from './tool-limits.js'

/** Program of the host, and its package on Debian and Ubuntu. */
export interface HostTool {
  readonly program: string
  readonly aptPackage: string
  readonly why: string
  /**
   * If true, the program parses data controlled by the supplier of an image, and runs under limits
   * of memory and CPU time. @default false
   */
  readonly parsesImages?: true
  /** If true, the program gets the proxy settings of the environment. @default false */
  readonly usesNetwork?: true
}

export interface ToolRun {
  readonly tool: HostTool
  readonly args: readonly string[]
  /** Purpose of this run for errors, for example `creating the file system`. */
  readonly purpose: string
  readonly cwd?: string | undefined
  readonly env?: Readonly<Record<string, string>> | undefined
  readonly input?: string | Uint8Array | undefined
  /** User that the program runs as. @default the user of this process */
  readonly user?: HostUser | undefined
  /**
   * If false, the tool cannot write to any file. Only supported by tools with `parsesImages`;
   * others ignore it. @default true
   */
  readonly writes?: boolean | undefined
  /**
   * If true, the tool runs in its own mount namespace, so its mounts are invisible to others and
   * end with it. Requires root. @default false
   */
  readonly hasOwnMounts?: boolean | undefined
  /**
   * If false, the tool is not killed together with this process; for tools that end within
   * milliseconds. @default true
   */
  readonly endsWithParent?: boolean | undefined
  readonly timeoutMs: number
  readonly signal?: AbortSignal | undefined
  /** Receives both output streams while the tool runs. Only supported by {@link runTool}. */
  readonly onOutput?: ((text: string) => void) | undefined
  /** Code of the error of a failed run. @default 'IMAGE_BUILD_FAILED' */
  readonly code?: Exclude<ErrorCode, 'COMMAND_FAILED' | 'COMMAND_TIMEOUT'> | undefined
  /** Hint of that error. @default advice to read the output */
  readonly hint?: string | undefined
}

/** `qemu-img` is defined here because every disk needs it. */
export const QEMU_IMG: HostTool = {
  program: 'qemu-img',
  aptPackage: 'qemu-utils',
  why: 'creates and inspects disk images',
  parsesImages: true,
}

/**
 * Runs a program without a shell and returns its output. The program gets only the environment
 * variables that tools need.
 *
 * @throws {InfrastructureError} TOOL_NOT_FOUND when it is not installed.
 * @throws {InfrastructureError} NO_SPACE when it reports a full disk.
 * @throws {VMError} `run.code` when it fails or exceeds `timeoutMs`, with its output.
 */
export async function runTool(run: ToolRun): Promise<Uint8Array> {
  run.signal?.throwIfAborted()
  const { execa } = await import('execa')
  requireFiles()
  const program = await buildProgram(run)
  const subprocess = execa(
    ...asUser(run.user, program, {
      ...executionOptions(run),
      ...(run.input === undefined ? {} : { input: run.input }),
    }),
  )
  endGroup(subprocess, run)
  if (run.onOutput !== undefined) {
    for (const stream of [subprocess.stdout, subprocess.stderr])
      stream.on('data', (piece: Buffer) => run.onOutput?.(piece.toString()))
  }
  const result = await subprocess
  if (!result.failed) return result.stdout
  run.signal?.throwIfAborted()
  const output = Buffer.concat([
    Buffer.from(result.stdout ?? []),
    Buffer.from(result.stderr ?? []),
  ]).toString()
  throw toolError(run, { output, code: result.code, exitCode: result.exitCode, timedOut: result.timedOut })
}

/**
 * Runs a program like {@link runTool} and passes its output piece by piece to `consume`, which
 * controls the pace.
 *
 * @throws errors of `runTool` and of `consume`; the program is killed then.
 */
export async function streamTool(
  run: Omit<ToolRun, 'input' | 'user'>,
  consume: (piece: Buffer) => Promise<void>,
): Promise<void> {
  run.signal?.throwIfAborted()
  const { execa } = await import('execa')
  requireFiles()
  const { file, args } = await buildProgram(run)
  const process = execa(file, args, {
    ...executionOptions(run),
    buffer: { stdout: false },
  })
  endGroup(process, run)
  try {
    for await (const piece of process.stdout) await consume(piece as Buffer)
  } catch (error) {
    process.kill('SIGKILL')
    await process
    run.signal?.throwIfAborted()
    throw error
  }
  const result = await process
  if (!result.failed) return
  run.signal?.throwIfAborted()
  const output = Buffer.from(result.stderr ?? []).toString()
  throw toolError(run, { output, code: result.code, exitCode: result.exitCode, timedOut: result.timedOut })
}

/** Returns the program wrapped in the commands that limit it and guard its process group. */
async function buildProgram(run: ToolRun): Promise<Program> {
  const { tool, args, timeoutMs, writes = true } = run
  const path = await findProgram(tool.program, { PATH: toolPath() })
  if (path === undefined) throw toolMissing(run)
  const program = { file: path, args }
  const limited = tool.parsesImages ? await limitTool(program, { timeoutMs, writes }) : program
  const apart = run.hasOwnMounts ? await withOwnMounts(limited) : limited
  return isGuarded(run) ? guardGroup(apart) : apart
}

let canHaveOwnMounts: Promise<boolean> | undefined

/**
 * Wraps a program in its own mount namespace (unshare(1)), unless a container forbids that, and
 * with it all mounts.
 */
async function withOwnMounts(program: Program): Promise<Program> {
  const unshare = await findProgram('unshare', { PATH: toolPath() })
  if (unshare === undefined) return program
  canHaveOwnMounts ??= import('execa').then(async ({ execa }) => {
    const { failed } = await execa(unshare, ['--mount', 'true'], { reject: false })
    return !failed
  })
  if (!(await canHaveOwnMounts)) return program
  return { file: unshare, args: ['--mount', '--', program.file, ...program.args] }
}

function isGuarded({ endsWithParent = true }: Pick<ToolRun, 'endsWithParent'>): boolean {
  return endsWithParent && process.platform === 'linux'
}

/** Kills the remaining processes of a tool, as an interrupted package manager leaves them. */
function endGroup(subprocess: Pick<ChildProcess, 'pid' | 'once'>, run: ToolRun): void {
  const { pid } = subprocess
  if (isGuarded(run) && pid !== undefined) subprocess.once('exit', () => killGroup(pid))
}

function executionOptions(run: ToolRun) {
  const stdin = run.input === undefined ? 'ignore' : 'pipe'
  return {
    reject: false,
    detached: isGuarded(run),
    stdio: [stdin, 'pipe', 'pipe', ...(isGuarded(run) ? (['pipe'] as const) : [])],
    encoding: 'buffer',
    stripFinalNewline: false,
    timeout: run.timeoutMs,
    extendEnv: false,
    env: buildEnvironment(run),
    cwd: run.cwd,
    ...(run.signal === undefined ? {} : { cancelSignal: run.signal }),
  } as const
}

/**
 * Returns the environment. Another user, who could read it, gets nothing of that of this process.
 */
function buildEnvironment({ tool, env, user }: Pick<ToolRun, 'tool' | 'env' | 'user'>) {
  const base = user === undefined ? pickToolEnvironment(process.env, tool) : {}
  const limits = tool.parsesImages ? LIMITED_ENVIRONMENT : {}
  return { ...base, ...limits, LC_ALL: 'C', PATH: toolPath(), ...env }
}

interface ToolFailure {
  readonly output: string
  readonly code: string | undefined
  readonly exitCode: number | undefined
  readonly timedOut: boolean
}

function toolError(run: ToolRun, failure: ToolFailure): VMError {
  const { tool } = run
  const command = [tool.program, ...run.args].join(' ')
  const evidence = [
    { label: 'Command', text: command },
    { label: `Output of ${tool.program}`, text: tail(failure.output) },
  ]
  if (/No space left on device|ENOSPC|Disk quota exceeded/i.test(failure.output)) {
    return noSpaceError(run.purpose, evidence)
  }
  return vmError(run.code ?? 'IMAGE_BUILD_FAILED', {
    summary: failure.timedOut
      ? `${capitalize(run.purpose)} failed: ${tool.program} was stopped after ${run.timeoutMs / 1000} s.`
      : `${capitalize(run.purpose)} failed: ${tool.program} ${describeEnd(failure)}.`,
    evidence,
    hint: run.hint ?? `Read the output of ${tool.program} above; run the command by hand to reproduce it.`,
  })
}

function describeEnd({ exitCode, code }: ToolFailure): string {
  if (exitCode !== undefined) return `exited with code ${exitCode}`
  return code === undefined ? 'was killed by a signal' : `failed with ${code}`
}

function toolMissing({ tool, purpose }: ToolRun): VMError {
  return vmError('TOOL_NOT_FOUND', {
    summary: `The program ${tool.program}, which ${tool.why}, was not found (${purpose}).`,
    expected: `${tool.program} in ${toolPath()}`,
    hint: `Install it; on Debian and Ubuntu: \`apt install ${tool.aptPackage}\`.`,
  })
}

/** Returns the error of a full disk. */
export function noSpaceError(
  purpose: string,
  evidence: readonly { label: string; text: string }[] = [],
): VMError {
  return vmError('NO_SPACE', {
    summary: `The disk is full (${purpose}).`,
    evidence,
    hint: 'Free some space, or move the cache with WITHVM_CACHE and temporary files with TMPDIR.',
  })
}

/**
 * Converts a file system error that means a full disk to NO_SPACE. Returns every other error
 * unchanged.
 */
export function toDiskError(error: unknown, purpose: string): unknown {
  const code = (error as NodeJS.ErrnoException | undefined)?.code
  if (error instanceof VMError || (code !== 'ENOSPC' && code !== 'EDQUOT')) return error
  return noSpaceError(purpose, [{ label: 'System error', text: String(error) }])
}

/**
 * Returns PATH with the sbin directories, which a user's PATH often lacks; mke2fs and debugfs are
 * there.
 */
function toolPath(): string {
  const path = process.env.PATH ?? '/usr/local/bin:/usr/bin:/bin'
  const missing = ['/usr/sbin', '/sbin'].filter((dir) => !path.split(':').includes(dir))
  return [path, ...missing].join(':')
}

function tail(text: string): string {
  const lines = text.trimEnd().split('\n')
  return lines.length <= 30 ? lines.join('\n') : ['…', ...lines.slice(-30)].join('\n')
}

function capitalize(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}
