import { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'
import { basename, dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { readExecStatus, readPid } from '../../../src/channel/agent/exec-replies.js'
import { IdentityAgent } from '../../../src/channel/identity-agent/identity-agent.js'
import { parseObject, readLines } from '../../../src/channel/json-lines.js'
import { isFileName } from '../../../src/channel/ssh/transfer.js'
import type { VMError } from '../../../src/errors.js'
import { buildClockMessage } from '../../../src/provisioning/guest-identity.js'
import { ANSWER_BYTES } from '../../../src/provisioning/identity-agent/message.js'
import { decodePpm } from '../../../src/vm/evidence/picture.js'
import { parseStatus } from '../../../src/vm/power/cloud-init.js'
import { ByteFuzzer, FUZZ, fuzz } from '../../support/byte-fuzzer.js'
import { FakeSocket } from '../../support/fake-socket.js'

const TIMEOUT_MS = 30_000 + FUZZ.inputs

test(
  'PPM: a picture has the pixels of its file, or is rejected',
  async () => {
    const samples = [
      Buffer.concat([Buffer.from('P6\n2 2\n255\n'), Buffer.alloc(12, 7)]),
      Buffer.concat([Buffer.from('P6 3 1 255 '), Buffer.alloc(9)]),
      'P6\n99999 99999\n255\n',
      'P6\n1\t\t00000000000000000000000001 255\n',
      'P6 9999999999999999999999 0 255 ',
      'P3\n1 1\n255\n1 2 3\n',
      'P6\n0 0\n255\n',
    ]
    const fuzzer = new ByteFuzzer(samples, FUZZ.seed)
    await fuzz(0.25, fuzzer, (bytes) => {
      try {
        const { width, height, data } = decodePpm(bytes)
        expect(data.length).toBe(width * height * 4)
        expect(width * height * 3).toBeLessThanOrEqual(bytes.length)
      } catch (error) {
        expect(error).toBeInstanceOf(TypeError)
      }
    })
  },
  TIMEOUT_MS,
)

test(
  'SFTP names: an accepted name is a file directly in its folder',
  async () => {
    const samples = [
      '..',
      '.',
      '../../etc/passwd',
      '/etc/passwd',
      'a\0b',
      'a/b',
      '...',
      '~',
      'C:\\x',
      ' ',
      '\u2028é',
      'x'.repeat(300),
    ]
    const fuzzer = new ByteFuzzer(samples, FUZZ.seed)
    await fuzz(0.25, fuzzer, (bytes) => {
      const name = bytes.toString(fuzzer.random() < 0.5 ? 'utf8' : 'latin1')
      if (!isFileName(name)) return
      const path = join('/folder/of', name)
      expect([dirname(path), basename(path)]).toEqual(['/folder/of', name])
      expect(path).not.toContain('\0')
    })
  },
  TIMEOUT_MS,
)

test(
  'identity agent: only the nonce of a message confirms it, and random input ends the wait',
  async () => {
    const nonce = Buffer.from('01234567')
    const request = buildClockMessage('x86_64')
    const fuzzer = new ByteFuzzer(
      ['parked\n\n', nonce, Buffer.concat([nonce, nonce]), '0123', '\0'.repeat(8), 'f'.repeat(56)],
      FUZZ.seed,
    )
    await fuzz(0.25, fuzzer, async (bytes) => {
      const socket = FakeSocket.create()
      const identityAgent = new IdentityAgent(ANSWER_BYTES)
      identityAgent.attach(socket)
      const sent = identityAgent
        .send({ ...request, nonce }, { timeoutMs: 60_000 })
        .catch((error: VMError) => error.code)
      socket.receive(fuzzer.split(bytes))
      identityAgent.close()
      const answer = Array.from({ length: Math.floor(bytes.length / ANSWER_BYTES) }, (_, index) =>
        bytes.subarray(index * ANSWER_BYTES, (index + 1) * ANSWER_BYTES),
      ).find((frame) => frame.subarray(0, 8).equals(nonce))
      const isRefused = answer !== undefined && request.findFailure(answer) !== undefined
      const expected = isRefused ? 'IDENTITY_REFUSED' : answer
      expect(await sent).toEqual(answer === undefined ? 'IDENTITY_AGENT_SILENT' : expected)
    })
  },
  TIMEOUT_MS,
)

const REPLIES = [
  '{"return": {"pid": 812}}\n',
  '{"return": {"exited": true, "exitcode": 0, "out-data": "aGVsbG8K", "out-truncated": false}}\n',
  '{"return": {"exited": true, "signal": 9, "err-data": {"length": 4000000000}}}\n',
  '{"error": {"class": "GenericError", "desc": "a \\"quoted\\" \\\\ text"}}\n',
  `{"return": ${'['.repeat(300)}${']'.repeat(300)}}\n`,
  '{"a":'.repeat(200),
  '"\\\\\\"[[[{{{"',
  `{"v1": {"modules-final": {"finished": 1, "errors": ["x"], "recoverable_errors": {"WARNING": ["w"]}}}}\n`,
  '{"v1": null}\n',
  '\n\n\r\n',
  '\u00ff\u00fe\u2028',
]

test(
  'agent replies: lines do not depend on the chunks, and parsed values equal those of JSON.parse()',
  async () => {
    const fuzzer = new ByteFuzzer(REPLIES, FUZZ.seed)
    await fuzz(0.25, fuzzer, (bytes) => {
      const maxChars = 20 + fuzzer.below(600)
      const whole = read([bytes], maxChars)
      expect(read(fuzzer.split(bytes), maxChars)).toEqual(whole)
      for (const line of whole.lines) {
        expect(line.length).toBeLessThanOrEqual(maxChars)
        const parsed = parseObject<{ readonly return?: unknown }>(line)
        if (parsed !== undefined) expect(parsed).toEqual(JSON.parse(line))
        parseStatus(line)
        for (const reader of [readPid, readExecStatus]) expectValidOrRejected(() => reader(parsed?.return))
      }
    })
  },
  TIMEOUT_MS,
)

function read(pieces: readonly Buffer[], maxChars: number) {
  const socket = new EventEmitter() as Socket
  const lines: string[] = []
  let isTooLong = false
  readLines(socket, {
    onLine: (line) => lines.push(line),
    onTooLong: () => {
      isTooLong = true
    },
    maxChars: () => maxChars,
  })
  for (const piece of pieces) socket.emit('data', piece)
  return { lines, isTooLong }
}

/** Asserts that a reader returns, or throws AGENT_FAILED. */
function expectValidOrRejected(read: () => unknown): void {
  try {
    read()
  } catch (error) {
    expect(error).toMatchObject({ code: 'AGENT_FAILED' })
  }
}
