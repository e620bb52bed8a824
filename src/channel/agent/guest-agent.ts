import { randomInt } from 'node:crypto'
import { setMaxListeners } from 'node:events'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { withDeadline } from '../../common/deadline.js'
import { createDeferred } from '../../common/deferred.js'
import { formatDuration } from '../../common/duration.js'
import { Turns } from '../../common/turns.js'
import { vmError } from '../../errors.js'
import { type CommandOptions, type CommandResult, settleCommand } from '../command-result.js'
import { MAX_LINE_CHARS, MAX_OUTPUT_LINE_CHARS, parseObject, readLines } from '../json-lines.js'
import { malformed } from './agent-errors.js'
import { runByAgent } from './agent-exec.js'

export interface AgentWait {
  /** @default 10000 */
  readonly timeoutMs?: number | undefined
  readonly signal?: AbortSignal | undefined
}

interface AgentMessage {
  readonly return?: unknown
  /** From the guest: of any form. */
  readonly error?: unknown
}

interface Pending {
  /** Longest line that the answer can have. */
  readonly maxChars: number
  readonly onMessage: (message: AgentMessage) => void
  readonly reject: (error: unknown) => void
}

const DEFAULT_TIMEOUT_MS = 10_000
/** How often a silent agent is greeted again: what was sent before the guest had its port may be lost. */
const SYNC_INTERVAL_MS = 250
/** The commands whose answers hold the output of a command, or a part of a file. No other answer needs a long line. */
const LONG_ANSWERS: readonly string[] = ['guest-exec-status', 'guest-file-read']
/** An agent that was greeted again and again answers each greeting in the end; more than that is a flood. */
const MANY_STRAYS = 1000
/** How long an agent that is to end its guest may take to say that it cannot. */
const REFUSAL_MS = 500

/**
 * QEMU's guest agent, over the host's end of its virtio-serial port. The protocol has no ids for its messages: one
 * command runs at a time, and after one that was not answered both sides find each other again before the next.
 */
export class GuestAgent {
  #socket: Socket | undefined
  #pending: Pending | undefined
  #boot = createBoot()
  #isSynced = false
  /** What has come that nobody asked for. */
  #strays = 0
  readonly #turns = new Turns()

  /** Talks over a connection of QEMU's, in place of the one before. */
  attach(socket: Socket): void {
    this.close()
    this.#socket = socket
    socket.on('error', () => {}) // 'close' follows
    socket.once('close', () => {
      if (this.#socket === socket) this.close()
    })
    const onLine = (line: string) => {
      if (this.#pending === undefined) {
        this.#strays++ // not worth parsing
        return
      }
      // An answer to a sync comes behind a byte 0xFF, which decodes to U+FFFD.
      const message = parseObject<AgentMessage>(line.slice(Math.max(0, line.indexOf('{'))))
      if (message === undefined) this.#strays++
      else this.#pending.onMessage(message)
    }
    const onTooLong = () => {
      this.#strays++
      this.#isSynced = false // the rest of the line may come after the next command
      this.#pending?.reject(malformed('a line that is longer than any answer'))
    }
    readLines(socket, { onLine, onTooLong, maxChars: () => this.#pending?.maxChars ?? MAX_LINE_CHARS })
  }

  /** Aborts when the guest is reset: the processes that its agent has started are gone, and their ids mean others. */
  get boot(): AbortSignal {
    return this.#boot.signal
  }

  /** The guest was reset: commands that ran in it end with that. */
  restart(): void {
    this.#boot.abort(wasReset())
    this.#boot = createBoot()
    this.#isSynced = false
  }

  get isAttached(): boolean {
    return this.#socket !== undefined
  }

  /**
   * Waits until the agent answers.
   *
   * @throws {GuestError} AGENT_UNAVAILABLE when it does not in time.
   */
  async ping(options: AgentWait = {}): Promise<void> {
    await this.execute('guest-ping', undefined, options)
  }

  /**
   * Runs any command of the agent's protocol and gives what it returns.
   *
   * @throws {GuestError} AGENT_UNAVAILABLE when there is no answer in time, AGENT_FAILED when it refuses.
   * @example await agent.execute('guest-get-osinfo')
   */
  execute(command: string, args?: object, options: AgentWait = {}): Promise<unknown> {
    return this.#inTurn(command, options, async (signal) => {
      const request = { execute: command, ...(args && { arguments: args }) }
      const maxChars = LONG_ANSWERS.includes(command) ? MAX_OUTPUT_LINE_CHARS : MAX_LINE_CHARS
      const message = await this.#ask(request, signal, { maxChars })
      if (message.error !== undefined) throw refused(command, message.error)
      if (!('return' in message)) throw malformed(`an answer to ${command} without a result`)
      return message.return
    })
  }

  /**
   * Runs a command by the guest's `/bin/sh`, without network or login. Its output comes all at once, when it ends.
   *
   * @throws {CommandError} COMMAND_FAILED when it ends with a non-zero exit code or a signal (unless
   *   `reject: false`), COMMAND_TIMEOUT when its time is up or its signal aborts.
   * @throws {GuestError} AGENT_UNAVAILABLE when the agent does not answer.
   */
  exec(
    command: string,
    options: CommandOptions & { readonly encoding: 'buffer' },
  ): Promise<CommandResult<Buffer>>
  exec(command: string, options?: CommandOptions): Promise<CommandResult>
  async exec(command: string, options: CommandOptions = {}): Promise<CommandResult<string | Buffer>> {
    return settleCommand(await runByAgent(this, command, options), options)
  }

  /** Asks the guest to end. Resolves when the agent has got the request: it does not answer one that it follows. */
  async shutdown(
    mode: 'powerdown' | 'halt' | 'reboot' = 'powerdown',
    options: AgentWait = {},
  ): Promise<void> {
    await this.#inTurn('guest-shutdown', options, async (signal) => {
      const request = { execute: 'guest-shutdown', arguments: { mode } }
      const answer = this.#ask(request, signal)
      const message = await Promise.race([answer, sleep(REFUSAL_MS)]).catch(() => undefined)
      this.#pending = undefined
      this.#isSynced = false
      if (message?.error !== undefined) throw refused('guest-shutdown', message.error)
    })
  }

  /** Ends the connection; what is under way rejects. Safe to call again. */
  close(): void {
    this.#socket?.destroy()
    this.#socket = undefined
    this.#isSynced = false
    this.#pending?.reject(unavailable('the connection to it has ended'))
  }

  async #inTurn<T>(
    command: string,
    options: AgentWait,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const { timeoutMs = DEFAULT_TIMEOUT_MS, signal } = options
    this.#strays = 0
    const onTimeout = () => {
      const strays = this.#strays > MANY_STRAYS ? `, but ${this.#strays} messages that answer nothing` : ''
      return unavailable(`no answer to ${command} within ${formatDuration(timeoutMs)}${strays}`)
    }
    return withDeadline({ timeoutMs, signal, onTimeout }, async (innerSignal) => {
      const endTurn = await this.#turns.take(innerSignal)
      try {
        await this.#sync(innerSignal)
        return await work(innerSignal)
      } finally {
        endTurn()
      }
    })
  }

  /** Throws away what may still come for an earlier command: asks with a number and waits for that number. */
  async #sync(signal: AbortSignal): Promise<void> {
    if (this.#isSynced) return
    for (;;) {
      const id = randomInt(1, 2 ** 31)
      const request = { execute: 'guest-sync-delimited', arguments: { id } }
      const retry = AbortSignal.any([signal, AbortSignal.timeout(SYNC_INTERVAL_MS)])
      try {
        // 0xFF makes the agent forget half a command that it may have got.
        await this.#ask(request, retry, { prefix: Buffer.from([0xff]), accept: (m) => m.return === id })
        this.#isSynced = true
        return
      } catch (error) {
        if (signal.aborted || !retry.aborted || this.#socket === undefined) throw error
      }
    }
  }

  #ask(
    request: object,
    signal: AbortSignal,
    options: {
      readonly prefix?: Buffer
      readonly accept?: (message: AgentMessage) => boolean
      readonly maxChars?: number
    } = {},
  ): Promise<AgentMessage> {
    const socket = this.#socket
    if (socket === undefined) throw unavailable('no connection to it')
    const answer = createDeferred<AgentMessage>()
    const onMessage = (message: AgentMessage) => {
      if (options.accept?.(message) ?? true) answer.resolve(message)
      else this.#strays++
    }
    const onAbort = () => {
      this.#isSynced = false
      answer.reject(signal.reason)
    }
    const { maxChars = MAX_LINE_CHARS } = options
    const pending: Pending = { onMessage, reject: answer.reject, maxChars }
    this.#pending = pending
    signal.addEventListener('abort', onAbort, { once: true })
    if (options.prefix !== undefined) socket.write(options.prefix)
    socket.write(`${JSON.stringify(request)}\n`)
    return answer.promise.finally(() => {
      signal.removeEventListener('abort', onAbort)
      if (this.#pending === pending) this.#pending = undefined
    })
  }
}

/** Every command that runs listens. */
function createBoot(): AbortController {
  const controller = new AbortController()
  setMaxListeners(0, controller.signal)
  return controller
}

function wasReset(): Error {
  return vmError('AGENT_UNAVAILABLE', {
    summary: 'the guest was reset while its agent ran a command',
    hint: 'Run the command again when the guest is ready, or wait for it before what resets the guest.',
  })
}

function unavailable(got: string): Error {
  return vmError('AGENT_UNAVAILABLE', {
    summary: 'the guest agent does not answer',
    got,
    hint: 'Check that the guest has booted and runs qemu-guest-agent (in stock cloud images it has to be installed).',
  })
}

/** More of what it says about a refusal is of no use. */
const MAX_REFUSAL_CHARS = 1000

function refused(command: string, error: unknown): Error {
  const { class: kind, desc } = (error ?? {}) as { readonly class?: unknown; readonly desc?: unknown }
  if (typeof kind !== 'string' || typeof desc !== 'string')
    return malformed(`an error for ${command} that is not of its form`)
  return vmError('AGENT_FAILED', {
    summary: `the guest agent refused ${command}`,
    got: `${kind}: ${desc}`.slice(0, MAX_REFUSAL_CHARS),
    hint:
      kind === 'CommandNotFound'
        ? 'The agent in this guest has no such command, or its configuration forbids it (Red Hat: BLACKLIST_RPC).'
        : "Look the command up in the guest agent's reference.",
  })
}
