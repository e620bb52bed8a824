import { randomBytes } from 'node:crypto'
import { AGENT_TARGETS, type AgentArch, type AgentTarget, type CallName, TargetWriter } from './target.js'

/**
 * Messages to the identity agent, which executes a list of system calls. The host composes
 * everything, so the program in the guest is the same for all images:
 *
 * | offset | content                                                           |
 * | ------ | ----------------------------------------------------------------- |
 * | 0      | nonce, 8 bytes                                                    |
 * | 8      | results of checked calls, 56 bytes                                |
 * | 64     | calls of 8 words: number, 5 arguments, 2 addresses for the result |
 * |        | a negative word, then strings and structures                      |
 *
 * A message has a call that sends its first 64 bytes back.
 */
export const MESSAGE_BYTES = 4096
/** Size of everything that the agent sends: the start of a message, or an announcement. */
export const ANSWER_BYTES = 64
/** Size of the nonce at the start of a message and its answer. */
export const NONCE_BYTES = 8
const CALL_WORDS = 8
const MAX_ARGUMENTS = 5

/** Address of the message in the agent's memory. Its sources in `assembly` contain the same. */
export const MESSAGE_ADDRESS = 0x811000

/** File descriptor of the virtio-serial port in the agent. Its sources contain the same. */
export const PORT_FD = 10
const AT_FDCWD = -100

/** Result of an earlier call of the same message. Two later arguments can use it. */
export class CallResult {
  readonly addresses: number[] = []
}

/** A number, a NUL-terminated string, bytes, or the result of an earlier call. */
export type CallArgument = number | string | Uint8Array | CallResult

interface Call {
  readonly name: CallName
  readonly args: readonly CallArgument[]
  readonly result: CallResult
}

/** A message, and how its answer is recognized and checked. */
export interface AgentMessage {
  readonly bytes: Buffer
  readonly nonce: Buffer
  /**
   * Returns the first checked call that failed, with the negative error number of Linux.
   * @param answer everything that the agent has sent back.
   */
  findFailure(answer: Buffer): { readonly action: string; readonly errno: number } | undefined
}

/** Composes a message. */
export class MessageBuilder {
  readonly target: AgentTarget
  readonly #calls: Call[] = []
  readonly #checked: string[] = []

  constructor(arch: AgentArch) {
    this.target = AGENT_TARGETS[arch]
  }

  /** Adds a system call. Its result is ignored unless a later call uses it. */
  call(name: CallName, ...args: CallArgument[]): CallResult {
    if (args.length > MAX_ARGUMENTS) throw new RangeError(`${name} has more than ${MAX_ARGUMENTS} arguments.`)
    const result = new CallResult()
    this.#calls.push({ name, args, result })
    return result
  }

  /**
   * Adds a system call whose failure is reported.
   * @param action words for the error, for example `set the clock`.
   */
  checkedCall(action: string, name: CallName, ...args: CallArgument[]): void {
    const { wordBytes } = this.target
    const index = this.#checked.push(action) - 1
    if ((index + 1) * wordBytes > ANSWER_BYTES - NONCE_BYTES) throw new RangeError('too many checked calls')
    this.call(name, ...args).addresses.push(MESSAGE_ADDRESS + NONCE_BYTES + index * wordBytes)
  }

  /** Opens a file as this descriptor. */
  open(path: string, flags: number, fd: number): void {
    const opened = this.call('openat', AT_FDCWD, path, flags, 0)
    this.call('dup3', opened, fd, 0)
    this.call('close', opened)
  }

  /** Writes to the start of a file. */
  writeFile(path: string, content: Uint8Array, { flags, mode = 0 }: { flags: number; mode?: number }): void {
    const opened = this.call('openat', AT_FDCWD, path, flags, mode)
    this.call('write', opened, content, content.length)
    this.call('close', opened)
  }

  /**
   * Returns the message that performs the calls and then answers.
   * @param addLater adds calls that the agent performs after the answer.
   */
  build(addLater: () => void = () => {}): AgentMessage {
    const nonce = randomBytes(NONCE_BYTES)
    this.call('write', PORT_FD, MESSAGE_ADDRESS, ANSWER_BYTES)
    addLater()
    const bytes = this.#encode()
    bytes.set(nonce)
    const { wordBytes, isBigEndian } = this.target
    const checked = [...this.#checked]
    const read = (answer: Buffer, at: number) =>
      isBigEndian ? answer.readIntBE(at + wordBytes - 4, 4) : answer.readIntLE(at, 4)
    return {
      bytes,
      nonce,
      findFailure: (answer) => {
        const results = checked.map((action, index) => ({
          action,
          errno: read(answer, NONCE_BYTES + index * wordBytes),
        }))
        return results.find(({ errno }) => errno < 0)
      },
    }
  }

  /** Returns the message without a nonce and without an answer. */
  buildSilent(): Buffer {
    return this.#encode()
  }

  #encode(): Buffer {
    const { wordBytes, calls: numbers } = this.target
    const bytes = Buffer.alloc(MESSAGE_BYTES)
    const writer = new TargetWriter(bytes, this.target)
    const callBytes = CALL_WORDS * wordBytes
    let end = ANSWER_BYTES + this.#calls.length * callBytes
    writer.word(-1, end)
    end += wordBytes
    // Results that nobody uses go to the end of the buffer.
    const unused = MESSAGE_BYTES - wordBytes
    const stored = new Map<string, number>()
    // Equal data, such as a key that is written to several files, is stored once.
    const store = (data: Buffer): number => {
      const content = data.toString('latin1')
      const at = stored.get(content) ?? Math.ceil(end / 8) * 8
      if (stored.has(content)) return MESSAGE_ADDRESS + at
      if (at + data.length > unused) throw new RangeError('The message of the identity agent is too long.')
      bytes.set(data, at)
      stored.set(content, at)
      end = at + data.length
      return MESSAGE_ADDRESS + at
    }
    for (const [index, { name, args }] of this.#calls.entries()) {
      const at = ANSWER_BYTES + index * callBytes
      writer.word(numbers[name], at)
      for (const [position, argument] of args.entries()) {
        const slot = at + (position + 1) * wordBytes
        if (argument instanceof CallResult) argument.addresses.push(MESSAGE_ADDRESS + slot)
        else if (typeof argument === 'number') writer.word(argument, slot)
        else writer.word(store(Buffer.from(typeof argument === 'string' ? `${argument}\0` : argument)), slot)
      }
    }
    for (const [index, { name, result }] of this.#calls.entries()) {
      const at = ANSWER_BYTES + index * callBytes
      if (result.addresses.length > 2) throw new RangeError(`The result of ${name} is used more than twice.`)
      for (const place of [0, 1])
        writer.word(result.addresses[place] ?? MESSAGE_ADDRESS + unused, at + (6 + place) * wordBytes)
    }
    return bytes
  }
}
