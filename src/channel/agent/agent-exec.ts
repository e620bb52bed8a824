import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { combineSignals } from '../../common/combine-signals.js'
import { raceSignal } from '../../common/deadline.js'
import { pollUntil } from '../../common/poll.js'
import { resolveDuration } from '../../common/resolve-duration.js'
import { MIB } from '../../common/units.js'
import { VMError } from '../../errors.js'
import { CommandOutput } from '../command-output.js'
import {
  type CommandOptions,
  outputOverflowError,
  prefixEnv,
  type RawOutcome,
  timeOutCommand,
} from '../command-result.js'
import { killTreeOf } from '../kill-tree.js'
import { type ExecStatus, readExecStatus, readPid } from './exec-replies.js'
import { signalName } from './linux-signals.js'

/** Limit of the agent for each stream (qemu-ga's GUEST_EXEC_MAX_OUTPUT). */
const AGENT_MAX_BYTES = 16 * MIB
const FIRST_POLL_MS = 1
const LAST_POLL_MS = 100
/**
 * Long, because an agent that has started a command is available but responds late if the guest is
 * out of memory.
 */
const STATUS_TIMEOUT_MS = 60_000

/** Part of `GuestAgent` that is used here. */
interface AgentCommands {
  /** Aborts when the guest is reset. */
  readonly boot: AbortSignal
  execute(command: string, args?: object, options?: { readonly timeoutMs?: number }): Promise<unknown>
}

/** Runs a shell command through `guest-exec` and waits for its end. */
export async function runByAgent(
  agent: AgentCommands,
  command: string,
  options: CommandOptions,
): Promise<RawOutcome> {
  const timeoutMs = resolveDuration('timeout', options.timeout) ?? Number.POSITIVE_INFINITY
  const line = prefixEnv(command, options.env)
  const startedAt = performance.now()
  const outcome = (rest: Partial<RawOutcome> = {}): RawOutcome => ({
    command,
    stdout: Buffer.alloc(0),
    stderr: Buffer.alloc(0),
    exitCode: undefined,
    signal: undefined,
    durationMs: performance.now() - startedAt,
    ...rest,
  })
  const timer = new AbortController()
  const timeout = Number.isFinite(timeoutMs) ? setTimeout(() => timer.abort(), timeoutMs) : undefined
  const { boot } = agent
  const signal = combineSignals(boot, timer.signal, options.signal)
  let pid: number | undefined
  try {
    const input = await raceSignal(readInput(options.stdin), signal)
    const starting = agent.execute('guest-exec', {
      path: '/bin/sh',
      arg: ['-c', line],
      'capture-output': true,
      ...(input.length > 0 && { 'input-data': input.toString('base64') }),
    })
    starting
      .then((started) => {
        pid = readPid(started)
        if (signal.aborted && !boot.aborted) killProcess(agent, pid)
      })
      .catch(() => {}) // awaited below
    const status = await waitForExit(agent, readPid(await raceSignal(starting, signal)), signal)
    return toCommandResult(status, outcome, options)
  } catch (error) {
    if (!signal.aborted) throw error
    if (boot.aborted) throw boot.reason
    if (pid !== undefined) killProcess(agent, pid)
    if (timer.signal.aborted) throw timeOutCommand(outcome(), { timeoutMs })
    const reason: unknown = options.signal?.reason
    throw reason instanceof VMError ? reason : timeOutCommand(outcome(), { aborted: reason })
  } finally {
    clearTimeout(timeout)
  }
}

async function waitForExit(agent: AgentCommands, pid: number, signal: AbortSignal): Promise<ExecStatus> {
  await sleep(FIRST_POLL_MS, undefined, { signal })
  return pollUntil(
    async () => {
      const asked = agent.execute('guest-exec-status', { pid }, { timeoutMs: STATUS_TIMEOUT_MS })
      const status = readExecStatus(await raceSignal(asked, signal))
      return status.exited ? status : undefined
    },
    { intervalMs: FIRST_POLL_MS, maxIntervalMs: LAST_POLL_MS, signal },
  )
}

function toCommandResult(
  status: ExecStatus,
  outcome: (rest: Partial<RawOutcome>) => RawOutcome,
  options: CommandOptions,
): RawOutcome {
  const maxBytes = options.maxBuffer ?? AGENT_MAX_BYTES
  const outputs = { stdout: status['out-data'], stderr: status['err-data'] }
  const collected: Record<'stdout' | 'stderr', Buffer> = { stdout: Buffer.alloc(0), stderr: Buffer.alloc(0) }
  const truncated = { stdout: status['out-truncated'], stderr: status['err-truncated'] }
  let overflow: 'stdout' | 'stderr' | undefined
  for (const name of ['stdout', 'stderr'] as const) {
    const output = new CommandOutput(options[name], maxBytes, options.collect)
    if (!output.push(Buffer.from(outputs[name] ?? '', 'base64')) || truncated[name]) overflow ??= name
    output.end()
    collected[name] = output.toBuffer()
  }
  const raw = outcome({
    ...collected,
    exitCode: status.signal === undefined ? status.exitcode : undefined,
    signal: status.signal === undefined ? undefined : signalName(status.signal),
  })
  if (overflow !== undefined) throw outputOverflowError(raw, overflow, Math.min(maxBytes, AGENT_MAX_BYTES))
  return raw
}

function killProcess(agent: AgentCommands, pid: number): void {
  agent.execute('guest-exec', { path: '/bin/sh', arg: ['-c', killTreeOf(pid)] }).catch(() => {})
}

async function readInput(stdin: CommandOptions['stdin']): Promise<Buffer> {
  if (stdin instanceof Readable) return buffer(stdin)
  return Buffer.from(stdin ?? '')
}
