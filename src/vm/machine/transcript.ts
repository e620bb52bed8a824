import { formatDuration } from '../../common/duration.js'

/** Maximum length of a record: one screen is enough to recognize a command. */
const MAX_RECORD_CHARS = 4096
const MAX_RECORDS = 5000
const PRIVATE_KEY = /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g

/** Newest messages of a channel with their times, for the logs of a guest that failed. */
export class Transcript {
  #startedAt = performance.now()
  #records: string[] = []

  add(text: string): void {
    const seconds = ((performance.now() - this.#startedAt) / 1000).toFixed(3)
    const redacted = text.replace(PRIVATE_KEY, '(a private key)')
    const cut = redacted.length > MAX_RECORD_CHARS ? `${redacted.slice(0, MAX_RECORD_CHARS)} …` : redacted
    this.#records.push(`${seconds.padStart(9)} ${cut.replaceAll('\n', `\n${' '.repeat(10)}`)}`)
    if (this.#records.length > MAX_RECORDS * 2) this.#records = this.#records.slice(-MAX_RECORDS)
  }

  /** Discards all records, which were not caused by the test. */
  clear(): void {
    this.#startedAt = performance.now()
    this.#records = []
  }

  /** Returns one record a line, with the seconds since the guest was created. */
  get text(): string {
    return this.#records.map((record) => `${record}\n`).join('')
  }
}

/** Runs a command and records it with its outcome. */
export async function logCommand<T>(log: Transcript, command: string, work: () => Promise<T>): Promise<T> {
  const startedAt = performance.now()
  log.add(`$ ${command}`)
  const record = (outcome: unknown) =>
    log.add(`${describeOutcome(outcome)} after ${formatDuration(performance.now() - startedAt)}`)
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
