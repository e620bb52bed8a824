import { formatDuration } from '../../common/duration.js'
import { shortenText, toSafeLine } from '../../errors/safe-text.js'

/** Maximum length of a record: one screen is enough to recognize a command. */
const MAX_RECORD_CHARS = 4096
const MAX_RECORDS = 5000
const PRIVATE_KEY = /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g

/** Newest messages of a channel with their times, for the logs of a guest that failed. */
export class Transcript {
  #startedAt = performance.now()
  #records: Array<string | Summary> = []

  add(text: string): void {
    this.#push(this.#format(text))
  }

  /** Adds a record whose text may change until the transcript is read. */
  addSummary(readText: () => string): void {
    const atMs = performance.now()
    this.#push({ read: () => this.#format(readText(), atMs) })
  }

  /** Discards all records, which were not caused by the test. */
  clear(): void {
    this.#startedAt = performance.now()
    this.#records = []
  }

  /** Returns one record a line, with the seconds since the guest was created. */
  get text(): string {
    return this.#records.map((record) => `${typeof record === 'string' ? record : record.read()}\n`).join('')
  }

  #format(text: string, atMs = performance.now()): string {
    const seconds = ((atMs - this.#startedAt) / 1000).toFixed(3)
    const redacted = text.replace(PRIVATE_KEY, '(a private key)')
    const cut = redacted.length > MAX_RECORD_CHARS ? `${redacted.slice(0, MAX_RECORD_CHARS)} …` : redacted
    return `${seconds.padStart(9)} ${cut.replaceAll('\n', `\n${' '.repeat(10)}`)}`
  }

  #push(record: string | Summary): void {
    this.#records.push(record)
    if (this.#records.length > MAX_RECORDS * 2) this.#records = this.#records.slice(-MAX_RECORDS)
  }
}

interface Summary {
  read(): string
}

/** Maximum length of the last result of a {@link CommandGroup}, characters. */
const MAX_RESULT_CHARS = 200

/** Commands that are repeated for one wait or check, recorded as one line with the last result. */
export class CommandGroup {
  readonly #name: string
  readonly #logs = new Set<Transcript>()
  #count = 0
  #startedAt = 0
  #endedAt = 0
  #command: string | undefined
  #result: string | undefined
  #conclusion: string | undefined

  /** @param name what the commands are for, such as `wait for the file /a to exist`. */
  constructor(name: string) {
    this.#name = name
  }

  /**
   * Runs a command of the group.
   * @param command text of the command if a test wrote it; undefined for a script of withvm.
   */
  async run<T>(log: Transcript, command: string | undefined, work: () => Promise<T>): Promise<T> {
    if (this.#count++ === 0) this.#startedAt = performance.now()
    if (!this.#logs.has(log)) {
      this.#logs.add(log)
      log.addSummary(() => this.#describe())
    }
    this.#command = command
    this.#result = undefined
    const record = (outcome: unknown) => {
      this.#endedAt = performance.now()
      this.#result = describeOutcome(outcome).split('\n').at(-1)
    }
    return recordOutcome(work, record)
  }

  /** Sets the result that is recorded instead of the outcome of the last command. */
  conclude(conclusion: string): void {
    this.#conclusion = conclusion.split('\n', 1)[0]
  }

  #describe(): string {
    const endedAt = this.#result === undefined ? performance.now() : this.#endedAt
    const count = `${this.#count} ${this.#count === 1 ? 'command' : 'commands'}`
    const isNamed = this.#command === undefined || this.#name.includes(this.#command)
    const command = isNamed ? '' : ` ${this.#command}`
    const last = shortenText(this.#conclusion ?? this.#result ?? 'running', MAX_RESULT_CHARS)
    return toSafeLine(
      `# ${this.#name}: ${count} in ${formatDuration(endedAt - this.#startedAt)}, last${command}: ${last}`,
    )
  }
}

/** Runs a command and records it with its outcome. */
export async function logCommand<T>(log: Transcript, command: string, work: () => Promise<T>): Promise<T> {
  const startedAt = performance.now()
  log.add(`$ ${command}`)
  const record = (outcome: unknown) =>
    log.add(`${describeOutcome(outcome)} after ${formatDuration(performance.now() - startedAt)}`)
  return recordOutcome(work, record)
}

/** Does the work, and passes its result or its error to `record`. */
async function recordOutcome<T>(work: () => Promise<T>, record: (outcome: unknown) => void): Promise<T> {
  try {
    const result = await work()
    record(result)
    return result
  } catch (error) {
    record(error)
    throw error
  }
}

function describeOutcome(outcome: unknown): string {
  const { exitCode, stdout, stderr, message } = (outcome ?? {}) as Record<string, unknown>
  const end =
    exitCode === undefined
      ? (String(message ?? 'ended').split('\n', 1)[0] as string)
      : `exit code ${exitCode}`
  const streams = [stdout, stderr].filter((text) => typeof text === 'string' && text !== '')
  return [...streams, end].join('\n')
}
