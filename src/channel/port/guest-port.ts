import type { Socket } from 'node:net'
import type { Calls } from '../../common/calls/calls.js'
import { traceCalls } from '../../common/calls/trace-calls.js'
import { withDeadline } from '../../common/deadline.js'
import { createDeferred, type Deferred } from '../../common/deferred.js'
import { type Duration, formatDuration, parseDuration } from '../../common/duration.js'
import { withoutState } from '../../common/match-text.js'
import { MIB } from '../../common/units.js'
import { type BoundWait, boundWait, type WaitLimit } from '../../common/wait-limit.js'
import { vmError } from '../../errors.js'

/** Options of a wait for output of a port. */
export interface PortWait {
  /**
   * Maximum time to wait. In Vitest, every wait ends before the timeout of its test.
   * @default '30s', on a slow host up to two minutes
   */
  readonly timeout?: Duration | undefined
  /** Aborts the wait. @default none */
  readonly signal?: AbortSignal | undefined
  /**
   * Position at which the search starts: a mark, the first byte (`'start'`), or the current end of
   * the output (`'now'`).
   * @default 'start'
   */
  readonly from?: PortMark | 'start' | 'now' | undefined
}

/** Position in the output of a port, returned by {@link GuestPort.mark}. */
export interface PortMark {
  /** Number of bytes before this position, over all power-ons. */
  readonly offset: number
}

/** Number of bytes kept of the output. */
const KEPT_BYTES = 8 * MIB
const MIN_BUFFER_BYTES = 4096

/** Host end of a character device of the guest. Transfers bytes in both directions. */
export class GuestPort {
  static {
    traceCalls(GuestPort, 'port', ['write', 'waitFor'])
  }

  /** Name of the port in the option `ports`. */
  readonly name: string
  /** @internal Calls of the guest that this object belongs to. */
  calls: Calls | undefined
  readonly #defaultWaitMs: number
  readonly #waitLimit: WaitLimit
  #socket: Socket | undefined
  /**
   * Up to twice the size of the kept output, so that dropping the oldest bytes rarely needs a copy.
   */
  #buffer = Buffer.alloc(0)
  #end = 0
  /** Total number of bytes received, including dropped bytes. */
  #receivedBytes = 0
  #waiters = new Set<Deferred<void>>()

  /** @internal */
  constructor(
    name: string,
    options: {
      readonly defaultWaitMs: number
      readonly waitLimit?: WaitLimit
      /** Output of the guest from before this process connected. @default nothing */
      readonly receivedBefore?: Buffer | undefined
    },
  ) {
    this.name = name
    this.#defaultWaitMs = options.defaultWaitMs
    this.#waitLimit = options.waitLimit ?? (() => Number.POSITIVE_INFINITY)
    if (options.receivedBefore !== undefined) this.#take(options.receivedBefore)
  }

  /** @internal Uses a new connection of QEMU, which replaces the previous one. */
  attach(socket: Socket): void {
    this.close()
    this.#socket = socket
    socket.on('error', () => {}) // 'close' follows
    socket.on('data', (bytes: Buffer) => {
      this.#take(bytes)
      for (const waiter of this.#waiters) waiter.resolve()
    })
  }

  /** @internal Closes the connection. Idempotent. */
  close(): void {
    this.#socket?.destroy()
    this.#socket = undefined
  }

  /** Output of the guest over all power-ons: the newest 8 MiB. */
  get received(): Buffer {
    return this.#buffer.subarray(Math.max(0, this.#end - KEPT_BYTES), this.#end)
  }

  /** {@link received} as text. */
  get text(): string {
    return this.received.toString()
  }

  /** Returns the current end of the output as a position. */
  mark(): PortMark {
    return { offset: this.#receivedBytes }
  }

  /** Returns the output since a mark as text. */
  since(mark: PortMark): string {
    const { received } = this
    const keptFrom = this.#receivedBytes - received.length
    return received.toString('utf8', Math.max(0, mark.offset - keptFrom))
  }

  /**
   * Writes to the guest. Resolves when the bytes have been passed to QEMU.
   * @throws {UsageError} VM_NOT_RUNNING when the guest is powered off.
   */
  async write(data: string | Uint8Array): Promise<void> {
    const socket = this.#socket
    const fail = (cause?: Error) =>
      vmError('VM_NOT_RUNNING', {
        summary: `Cannot write to the port '${this.name}': the guest is not running.`,
        hint: 'Start the guest with vm.start().',
        cause,
      })
    if (socket === undefined || socket.destroyed) throw fail()
    await new Promise<void>((resolve, reject) => {
      socket.write(data, (error) => (error == null ? resolve() : reject(fail(error))))
    })
  }

  /**
   * Waits until the output contains a string or matches a pattern, and returns the matched text.
   * Searches from the first byte, or from the position `from`.
   * @throws {GuestError} WAIT_TIMEOUT with the last output when it does not match in time.
   * @example
   * const before = port.mark()
   * await port.write('status\n')
   * await port.waitFor(/^ok$/m, { from: before })
   */
  async waitFor(pattern: string | RegExp, options: PortWait = {}): Promise<string> {
    const { timeout, signal, from = 'start' } = options
    const longest =
      timeout === undefined ? this.#defaultWaitMs : (parseDuration(timeout) ?? this.#defaultWaitMs)
    const wait = boundWait(longest, this.#waitLimit)
    const mark = from === 'start' ? { offset: 0 } : from === 'now' ? this.mark() : from
    const onTimeout = () => this.#timeoutError(pattern, mark, wait)
    return withDeadline({ timeoutMs: wait.timeoutMs, signal, onTimeout }, async (over) => {
      for (;;) {
        over.throwIfAborted()
        const found = findPattern(this.since(mark), pattern)
        if (found !== undefined) return found
        const waiter = createDeferred<void>()
        this.#waiters.add(waiter)
        await waiter.promise.finally(() => this.#waiters.delete(waiter))
      }
    })
  }

  #take(bytes: Buffer): void {
    this.#receivedBytes += bytes.length
    this.#append(bytes)
  }

  #append(bytes: Buffer): void {
    if (this.#end + bytes.length > this.#buffer.length) {
      // Allocate a new buffer: callers may hold a view of the old one.
      const kept = this.received
      const buffer = Buffer.alloc(Math.max(MIN_BUFFER_BYTES, 2 * (kept.length + bytes.length)))
      kept.copy(buffer)
      this.#buffer = buffer
      this.#end = kept.length
    }
    bytes.copy(this.#buffer, this.#end)
    this.#end += bytes.length
  }

  #timeoutError(pattern: string | RegExp, mark: PortMark, { timeoutMs, hint }: BoundWait) {
    for (const waiter of this.#waiters) waiter.resolve()
    const text = this.since(mark)
    return vmError('WAIT_TIMEOUT', {
      summary: `The guest did not write ${typeof pattern === 'string' ? JSON.stringify(pattern) : pattern} to the port '${this.name}' within ${formatDuration(timeoutMs)}.`,
      got: text === '' ? 'nothing' : JSON.stringify(text.slice(-200)),
      hint: hint ?? 'Check that the guest writes to the device of this port.',
    })
  }
}

function findPattern(text: string, pattern: string | RegExp): string | undefined {
  if (typeof pattern === 'string') return text.includes(pattern) ? pattern : undefined
  return withoutState(pattern).exec(text)?.[0]
}
