import type { ChildProcess } from 'node:child_process'
import { type ErrorCode, VMError, vmError } from '../../errors.js'
import { requireFiles } from '../host-error.js'
import { pickToolEnvironment } from './environment.js'
import { findProgram } from './find-program.js'
import { asUser, type HostUser, type Program } from './host-user.js'
import { guardGroup, killGroup } from './process-group.js'
import { LIMITED_ENVIRONMENT, limitTool } from './tool-limits.js'

/** A program of the host, and the package that has it on Debian and Ubuntu. */
export interface HostTool {
  readonly program: string
  readonly aptPackage: string
  readonly why: string
  /** If true, it parses what the supplier of an image controls, and runs under limits of memory and CPU time. @default false */
  readonly parsesImages?: true
  /** If true, it gets the proxy settings of the environment. @default false */
  readonly usesNetwork?: true
}

export interface ToolRun {
  readonly tool: HostTool
  readonly args: readonly string[]
  /** What this run was to do, as `making the file system`: goes into the error. */
  readonly purpose: string
  readonly cwd?: string | undefined
  readonly env?: Readonly<Record<string, string>> | undefined
  readonly input?: string | Uint8Array | undefined
  /** As whom it runs. @default who runs this process */
  readonly user?: HostUser | undefined
  /** If false, a tool that parses images can write to no file. @default true */
  readonly writes?: boolean | undefined
  /** If true, what the tool mounts is seen by it alone, and gone when it ends in whatever way. For root. @default false */
  readonly hasOwnMounts?: boolean | undefined
  /** If false, the tool is not killed together with this process: for one that ends by itself within milliseconds. @default true */
  readonly endsWithUs?: boolean | undefined
  readonly timeoutMs: number
  readonly signal?: AbortSignal | undefined
  /** What a failure is called. @default 'IMAGE_BUILD_FAILED' */
  readonly code?: Exclude<ErrorCode, 'COMMAND_FAILED' | 'COMMAND_TIMEOUT'> | undefined
  /** @default 'Read the output above' and what goes with it. */
  readonly hint?: string | undefined
}

/** `qemu-img`: used for every disk, so it has its home here. */
export const QEMU_IMG: HostTool = {
  program: 'qemu-img',
  aptPackage: 'qemu-utils',
  why: 'makes and inspects disk images',
  parsesImages: true,
}

/**
 * Runs a program without a shell and returns its output. The program gets no variables of the environment but those that tools need.
 *
 * @throws {InfrastructureError} TOOL_NOT_FOUND when it is not installed.
 * @throws {InfrastructureError} NO_SPACE when it says that a disk is full.
 * @throws {VMError} `run.code` when it fails or takes longer than `timeoutMs`, with what it printed.
 */
export async function runTool(run: ToolRun): Promise<Uint8Array> {
  run.signal?.throwIfAborted()
  const { execa } = await import('execa')
  requireFiles()
  const { file, args } = await buildProgram(run)
  const subprocess = execa(file, args, {
    ...executionOptions(run),
    ...(run.input === undefined ? {} : { input: run.input }),
  })
  endGroup(subprocess, run)
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
 * Runs a program like {@link runTool} and gives its output piece by piece to `consume`, at the pace at which that takes it.
 *
 * @throws what `runTool` throws, and what `consume` throws; the program is ended then.
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

/** The program with what is to run before it: what makes it another user's, and what limits it. */
async function buildProgram(run: ToolRun): Promise<Program> {
  const { tool, args, user, timeoutMs, writes = true } = run
  const path = await findProgram(tool.program, { PATH: toolPath() })
  if (path === undefined) throw toolMissing(run)
  const program = { file: path, args }
  const limited = tool.parsesImages ? await limitTool(program, { timeoutMs, writes }) : program
  const apart = run.hasOwnMounts ? await withOwnMounts(limited) : limited
  const owned = user === undefined ? apart : asUser(user, apart)
  return isGuarded(run) ? guardGroup(owned) : owned
}

let canHaveOwnMounts: Promise<boolean> | undefined

/** In a mount namespace of its own (unshare(1)); a container may forbid that, and with it all mounts. */
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

function isGuarded({ endsWithUs = true }: Pick<ToolRun, 'endsWithUs'>): boolean {
  return endsWithUs && process.platform === 'linux'
}

/** Ends what a tool has left running, as a package manager does that was interrupted. */
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
    ...(run.cwd === undefined ? {} : { cwd: run.cwd }),
    ...(run.signal === undefined ? {} : { cancelSignal: run.signal }),
  } as const
}

/** Another user could read the environment, and has a home and temporary files of its own. */
function buildEnvironment({ tool, env, user }: Pick<ToolRun, 'tool' | 'env' | 'user'>) {
  const base = user === undefined ? pickToolEnvironment(process.env, tool) : { HOME: user.home }
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
      : `${capitalize(run.purpose)} failed: ${tool.program} ended with ${failure.exitCode ?? failure.code ?? 'a signal'}.`,
    evidence,
    hint: run.hint ?? `Read what ${tool.program} printed; the command can be run by hand to see it again.`,
  })
}

function toolMissing({ tool, purpose }: ToolRun): VMError {
  return vmError('TOOL_NOT_FOUND', {
    summary: `The program ${tool.program}, which ${tool.why}, was not found (${purpose}).`,
    expected: `${tool.program} in ${toolPath()}`,
    hint: `Install it, on Debian and Ubuntu with: apt install ${tool.aptPackage}`,
  })
}

/** The error of a full disk, whoever met it. */
export function noSpaceError(
  purpose: string,
  evidence: readonly { label: string; text: string }[] = [],
): VMError {
  return vmError('NO_SPACE', {
    summary: `There is no space left on the disk (${purpose}).`,
    evidence,
    hint: 'Free some space, or put the cache elsewhere with WITHVM_CACHE and temporary files with TMPDIR.',
  })
}

/** Gives NO_SPACE for a file system error that means it, and everything else unchanged. */
export function toDiskError(error: unknown, purpose: string): unknown {
  const code = (error as NodeJS.ErrnoException | undefined)?.code
  if (error instanceof VMError || (code !== 'ENOSPC' && code !== 'EDQUOT')) return error
  return noSpaceError(purpose, [{ label: 'System error', text: String(error) }])
}

/** A user's PATH often lacks the sbin directories, where mke2fs and debugfs are. */
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
