import { vmError } from '../errors.js'
import { runProgram } from './program.js'
import type { QemuBinary } from './qemu-binary.js'

export type Json = Readonly<Record<string, unknown>>

/** QMP command with an ID, which its response repeats. */
export interface QmpCommand {
  readonly id: string
  readonly execute: string
  readonly arguments?: Json
}

/** QEMU responds within 150 ms; a cold disk and a busy host take seconds. */
const QUERY_TIMEOUT_MS = 15_000
const EMPTY_MACHINE = ['-machine', 'none', '-nodefaults', '-no-user-config', '-display', 'none']

/**
 * Runs QMP commands in a QEMU process without a machine. Returns the result of `read`, which
 * receives each response with its `return` or `error`.
 *
 * @throws {InfrastructureError} QEMU_FAILED when `read` returns undefined.
 */
export async function queryQemu<T>(
  qemu: QemuBinary,
  commands: readonly QmpCommand[],
  read: (responses: ReadonlyMap<string, Json>) => T | undefined,
  signal?: AbortSignal,
): Promise<T> {
  const all = [{ id: 'start', execute: 'qmp_capabilities' }, ...commands, { id: 'end', execute: 'quit' }]
  const result = await runProgram(qemu.path, [...EMPTY_MACHINE, '-qmp', 'stdio'], {
    endsWithParent: true,
    timeoutMs: QUERY_TIMEOUT_MS,
    signal,
    input: all.map((command) => `${JSON.stringify(command)}\n`).join(''),
  })
  const found = read(parseResponses(result.stdout))
  if (found !== undefined) return found
  throw vmError('QEMU_FAILED', {
    summary: `${qemu.path} did not report its capabilities.`,
    expected: 'responses to QMP commands on stdout',
    got: result.problem ?? `exit code ${result.exitCode}`,
    evidence: [
      { label: "QEMU's stderr", text: result.stderr.slice(-2000) },
      { label: "The end of QEMU's stdout", text: result.stdout.slice(-500) },
    ],
    hint: 'Run this QEMU by hand: a library that it needs may be missing, or the host may be out of memory.',
  })
}

function parseResponses(stdout: string): ReadonlyMap<string, Json> {
  const responses = new Map<string, Json>()
  for (const line of stdout.split('\n')) {
    const message = parseJson(line)
    if (typeof message?.id === 'string') responses.set(message.id, message)
  }
  return responses
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
