// The helper that builds an image and outlives the test process. `build-helper.ts` starts it.
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { VMError } from '../errors.js'
import type { HelperMessage } from './build-helper.js'
import { decodeOrder, runJob } from './build-job.js'
import { openStored } from './stored-image.js'

/** Time for an aborted build to end its tools and remove its files, in milliseconds. */
const ABORT_MS = 10_000

const stop = new AbortController()

function abort(): void {
  stop.abort(new Error('the build was stopped'))
  setTimeout(() => process.exit(1), ABORT_MS).unref()
}

function send(message: HelperMessage): void {
  process.stdout.write(`${JSON.stringify(message)}\n`)
}

function describeError(error: unknown): HelperMessage {
  if (!(error instanceof VMError)) return { stack: String((error as Error).stack ?? error) }
  const { cause: _, ...details } = error.details
  return { code: error.code as Extract<HelperMessage, { code: unknown }>['code'], details }
}

for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, abort)
// Nobody may read any longer.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})

const lines = createInterface({ input: process.stdin })
const alone = once(lines, 'close')
const [line] = (await Promise.race([once(lines, 'line'), alone])) as [string | undefined]
if (line === undefined) process.exit()

const { subject, job, name, origin, inputs, aloneMs, ...caches } = decodeOrder(line)
alone.then(() => setTimeout(abort, aloneMs)).catch(abort)
try {
  await openStored(
    subject,
    { ...caches, signal: stop.signal, onProgress: (step, amount) => send({ step, amount }) },
    {
      name,
      origin,
      inputs,
      build: (dir, partial, report) => {
        send({ isBuilding: true })
        return runJob(job, { dir, partial, report, signal: stop.signal })
      },
    },
  )
  send({ isDone: true })
} catch (error) {
  send(describeError(error))
  process.exitCode = 1
}
// Waits until the last message is written.
process.stdout.write('', () => process.exit())
