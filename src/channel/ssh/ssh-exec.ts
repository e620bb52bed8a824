import { Readable } from 'node:stream'
import type { ClientChannel } from 'ssh2'
import { resolveDuration } from '../../common/resolve-duration.js'
import { MIB } from '../../common/units.js'
import { VMError, vmError } from '../../errors.js'
import { CommandOutput } from '../command-output.js'
import {
  type CommandOptions,
  decodeOutcome,
  describeOutput,
  outputOverflowError,
  type RawOutcome,
  timeOutCommand,
} from '../command-result.js'

/** Default of `maxBuffer`, equal to the limit of the guest agent. */
const DEFAULT_MAX_BUFFER_BYTES = 16 * MIB
/**
 * Time for `endTree`. An emulated guest needs 100 to 300 ms, but seconds on a busy host. Afterwards
 * only the shell of the command is signaled, and its children continue.
 */
const END_TREE_MS = 20_000
/** Time between SIGTERM and SIGKILL. */
const KILL_AFTER_MS = 250

/**
 * Runs a command on a channel opened by `open` and waits for its end. If the command times out or
 * is aborted, `endTree` kills it and its descendants.
 *
 * @throws {CommandError} COMMAND_TIMEOUT when it exceeds its timeout or its AbortSignal is aborted,
 *   COMMAND_FAILED when its output exceeds `maxBuffer`.
 * @throws {GuestError} SSH_CLOSED when the connection is lost before the command has ended.
 */
export function runOnChannel(
  command: string,
  options: CommandOptions,
  open: (signal: AbortSignal | undefined) => Promise<ClientChannel>,
  endTree: () => Promise<unknown> = async () => {},
): Promise<RawOutcome> {
  const { signal } = options
  const timeoutMs = resolveDuration('timeout', options.timeout) ?? Number.POSITIVE_INFINITY
  const maxBuffer = options.maxBuffer ?? DEFAULT_MAX_BUFFER_BYTES
  const stdout = new CommandOutput(options.stdout, maxBuffer, options.collect)
  const stderr = new CommandOutput(options.stderr, maxBuffer, options.collect)
  const startedAt = performance.now()
  const outcome = (exitCode?: number, exitSignal?: string): RawOutcome => ({
    command,
    stdout: stdout.toBuffer(),
    stderr: stderr.toBuffer(),
    exitCode,
    signal: exitSignal,
    durationMs: performance.now() - startedAt,
  })

  return new Promise((resolve, reject) => {
    const abandoned = new AbortController()
    let channel: ClientChannel | undefined
    let timer: NodeJS.Timeout | undefined
    const fail = (error: unknown) => {
      if (abandoned.signal.aborted) return
      settle()
      abandoned.abort(error)
      if (channel !== undefined) killCommand(channel, endTree)
      reject(error)
    }
    const onAbort = () => {
      const reason: unknown = signal?.reason
      const evidence = describeOutput(decodeOutcome(outcome()))
      fail(
        reason instanceof VMError
          ? reason.withEvidence(evidence)
          : timeOutCommand(outcome(), { aborted: reason }),
      )
    }
    const settle = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
      if (options.stdin instanceof Readable && channel !== undefined) options.stdin.unpipe(channel).pause()
    }
    if (signal?.aborted) return onAbort()
    signal?.addEventListener('abort', onAbort, { once: true })
    if (Number.isFinite(timeoutMs)) {
      timer = setTimeout(() => fail(timeOutCommand(outcome(), { timeoutMs })), timeoutMs)
    }

    open(abandoned.signal).then((opened) => {
      channel = opened
      if (abandoned.signal.aborted) return killCommand(opened, endTree)
      collectOutput(opened, stdout, () => fail(outputOverflowError(outcome(), 'stdout', maxBuffer)))
      collectOutput(opened.stderr, stderr, () => fail(outputOverflowError(outcome(), 'stderr', maxBuffer)))
      opened.on('error', () => {}) // 'close' follows
      // The channel closes when stdout has ended; stderr may still have unread data.
      const stderrEnded = new Promise((done) => opened.stderr.once('close', done))
      // The event 'exit' of a quick command may be emitted before this listener is added.
      opened.once('close', (code?: number | null, exitSignal?: string) => {
        const finish = () => {
          if (abandoned.signal.aborted) return
          const exitCode = code ?? undefined
          settle()
          stdout.end()
          stderr.end()
          const ended = outcome(exitCode, exitSignal)
          if (exitCode !== undefined || exitSignal !== undefined) resolve(ended)
          else reject(noExitStatusError(ended))
        }
        stderrEnded.then(finish).catch(reject)
      })
      pipeStdin(opened, options.stdin, fail)
    }, fail)
  })
}

function collectOutput(source: Readable, output: CommandOutput, onOverflow: () => void): void {
  source.on('data', (chunk: Buffer) => {
    if (!output.push(chunk)) onOverflow()
    const { drained } = output
    if (drained === undefined) return
    source.pause()
    drained.then(() => source.resume()).catch(() => source.destroy())
  })
}

function pipeStdin(
  channel: ClientChannel,
  stdin: CommandOptions['stdin'],
  fail: (error: unknown) => void,
): void {
  if (stdin instanceof Readable) {
    stdin.once('error', fail)
    channel.once('close', () => stdin.off('error', fail))
    stdin.pipe(channel)
  } else if (stdin === undefined) {
    channel.end()
  } else {
    channel.end(stdin)
  }
}

/**
 * Kills a command: with `endTree`, then SIGTERM, SIGKILL and the close of the channel. Servers
 * forward different signals to different processes: Dropbear only to the shell, not to its
 * children. Every server supports the close.
 */
function killCommand(channel: ClientChannel, endTree: () => Promise<unknown>): void {
  channel.on('error', () => {})
  // A flood of output would block `endTree`, which uses the same connection.
  channel.pause()
  channel.stderr.pause()
  const drain = () => {
    channel.resume()
    channel.stderr.resume()
  }
  const kill = () => {
    sendSignal(channel, 'KILL')
    channel.close()
  }
  const terminate = () => {
    drain()
    sendSignal(channel, 'TERM')
    next(kill, KILL_AFTER_MS)
  }
  let timer: NodeJS.Timeout | undefined
  const next = (step: () => void, delayMs: number) => {
    clearTimeout(timer)
    timer = setTimeout(step, delayMs)
    timer.unref()
  }
  channel.once('close', () => clearTimeout(timer))
  next(terminate, END_TREE_MS)
  endTree().then(drain, () => !channel.closed && next(terminate, 0))
}

/**
 * Sends a signal. `channel.signal()` of ssh2 1.17 sends none after the end of stdin, although the
 * protocol allows it.
 */
function sendSignal(channel: ClientChannel, name: string): void {
  const { outgoing, _client: client } = channel as unknown as {
    readonly outgoing?: { readonly id: number; readonly state: string }
    readonly _client?: { readonly _protocol?: { signal(id: number, name: string): void } }
  }
  if (outgoing?.state === 'open' || outgoing?.state === 'eof') client?._protocol?.signal(outgoing.id, name)
}

function noExitStatusError(raw: RawOutcome): Error {
  const outcome = decodeOutcome(raw)
  return vmError('SSH_CLOSED', {
    summary: 'The SSH connection was lost before the command ended.',
    expected: `an exit status of \`${outcome.command.slice(0, 200)}\``,
    got: 'the channel closed without an exit status',
    evidence: describeOutput(outcome),
    hint: 'Check on the serial console whether the guest rebooted, panicked or lost its network.',
  })
}
