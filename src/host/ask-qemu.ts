import { vmError } from '../errors.js'
import { runProgram } from './program.js'
import type { QemuBinary } from './qemu-binary.js'

export type Json = Readonly<Record<string, unknown>>

/** A command of QMP, and the name by which its answer is found. */
export interface QmpQuestion {
  readonly id: string
  readonly execute: string
  readonly arguments?: Json
}

/** QEMU answers in 150 ms; a cold disk and a busy host take seconds. */
const QUERY_TIMEOUT_MS = 15_000
const BARE = ['-machine', 'none', '-nodefaults', '-no-user-config', '-display', 'none']

/**
 * Asks a QEMU binary, without a machine, and gives what `read` makes of its answers, each with its `return` or `error`.
 *
 * @throws {InfrastructureError} QEMU_FAILED where `read` makes nothing of them.
 */
export async function askQemu<T>(
  qemu: QemuBinary,
  questions: readonly QmpQuestion[],
  read: (answers: ReadonlyMap<string, Json>) => T | undefined,
  signal?: AbortSignal,
): Promise<T> {
  const all = [{ id: 'start', execute: 'qmp_capabilities' }, ...questions, { id: 'end', execute: 'quit' }]
  const result = await runProgram(qemu.path, [...BARE, '-qmp', 'stdio'], {
    endsWithUs: true,
    timeoutMs: QUERY_TIMEOUT_MS,
    signal,
    input: all.map((question) => `${JSON.stringify(question)}\n`).join(''),
  })
  const found = read(readAnswers(result.stdout))
  if (found !== undefined) return found
  throw vmError('QEMU_FAILED', {
    summary: `${qemu.path} did not say what it is built with.`,
    expected: 'answers to QMP commands on its standard output',
    got: result.problem ?? `exit code ${result.exitCode}`,
    evidence: [
      { label: "QEMU's stderr", text: result.stderr.slice(-2000) },
      { label: "The end of QEMU's stdout", text: result.stdout.slice(-500) },
    ],
    hint: 'See whether this QEMU runs at all: a library that it needs may be missing, or the host be out of memory.',
  })
}

function readAnswers(stdout: string): ReadonlyMap<string, Json> {
  const answers = new Map<string, Json>()
  for (const line of stdout.split('\n')) {
    const message = parseJson(line)
    if (typeof message?.id === 'string') answers.set(message.id, message)
  }
  return answers
}

function parseJson(line: string): Json | undefined {
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}

export function listOf(value: unknown): Json[] | undefined {
  return Array.isArray(value) ? value : undefined
}

export function isText(value: unknown): value is string {
  return typeof value === 'string'
}
