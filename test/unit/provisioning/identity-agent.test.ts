import { execFileSync, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { pollUntil } from '../../../src/common/poll.js'
import { MACHINE_CODE } from '../../../src/provisioning/identity-agent/machine-code.js'
import {
  ANSWER_BYTES,
  MESSAGE_BYTES,
  MessageBuilder,
} from '../../../src/provisioning/identity-agent/message.js'
import { buildIdentityAgent, padAnnouncement } from '../../../src/provisioning/identity-agent/program.js'
import { AGENT_TARGETS, type AgentArch } from '../../../src/provisioning/identity-agent/target.js'

const ARCHITECTURES = Object.keys(MACHINE_CODE) as AgentArch[]
const O_WRONLY_CREAT_APPEND = 0o2101

test.each(ARCHITECTURES)(
  'the machine code of the identity agent for %s is that of its source',
  async (arch) => {
    const source = new URL(`../../../src/provisioning/identity-agent/assembly/${arch}.S`, import.meta.url)
    const digest = createHash('sha256')
      .update(await readFile(source))
      .digest('hex')
    expect(digest).toBe(MACHINE_CODE[arch].sourceDigest)
  },
)

test.each(ARCHITECTURES)('the identity agent for %s is an ELF program of two small segments', (arch) => {
  const program = buildIdentityAgent(arch, { announcement: 'parked' })
  const { wordBytes, isBigEndian, elf } = AGENT_TARGETS[arch]
  expect(program.subarray(0, 6)).toEqual(
    Buffer.from([0x7f, 0x45, 0x4c, 0x46, wordBytes === 8 ? 2 : 1, isBigEndian ? 2 : 1]),
  )
  expect(isBigEndian ? program.readUInt16BE(18) : program.readUInt16LE(18)).toBe(elf.machine)
  expect(program.length).toBeLessThan(3 * MESSAGE_BYTES)
})

test.runIf(process.arch === 'x64')(
  'the identity agent performs the calls of a message that arrives in pieces, and answers with their results',
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'agent-'))
    onTestFinished(() => rm(folder, { recursive: true }))
    const port = join(folder, 'port')
    const file = join(folder, 'file')
    const agent = join(folder, 'agent')
    execFileSync('mkfifo', [port])
    await writeFile(agent, buildIdentityAgent('x86_64', { port }), { mode: 0o755 })
    const message = new MessageBuilder('x86_64')
    message.writeFile(file, Buffer.from('first '), { flags: O_WRONLY_CREAT_APPEND, mode: 0o600 })
    message.writeFile(file, Buffer.from('second'), { flags: O_WRONLY_CREAT_APPEND, mode: 0o600 })
    message.checkedCall('write to nothing', 'write', 99, 'text', 4)
    message.checkedCall('close nothing', 'close', 98)
    const { bytes, nonce, findFailure } = message.build()
    // Opened for reading and writing, so the agent never sees its end.
    const fifo = await open(port, 'r+')
    const child = spawn(agent, { stdio: 'ignore' })
    try {
      await fifo.write(bytes.subarray(0, 1000))
      await fifo.write(bytes.subarray(1000))
      await pollUntil(
        async () => (await readFile(file, 'utf8').catch(() => '')) === 'first second' || undefined,
        {
          intervalMs: 5,
          timeoutMs: 5000,
        },
      )
      expect(await readFile(file, 'utf8')).toBe('first second')
    } finally {
      child.kill('SIGKILL')
      await fifo.close()
    }
    expect(nonce).toEqual(bytes.subarray(0, 8))
    const answer = Buffer.from(bytes.subarray(0, ANSWER_BYTES))
    expect(findFailure(answer)).toBeUndefined()
    answer.writeBigInt64LE(-9n, 16)
    expect(findFailure(answer)).toEqual({ action: 'close nothing', errno: -9 })
  },
)

test('a message rejects content that exceeds its size, and results that are used three times', () => {
  const long = new MessageBuilder('x86_64')
  long.call('write', 1, Buffer.alloc(MESSAGE_BYTES), MESSAGE_BYTES)
  expect(() => long.build()).toThrow('The message of the identity agent is too long.')
  const reused = new MessageBuilder('x86_64')
  const socket = reused.call('socket', 2, 2, 0)
  for (const fd of [20, 21, 22]) reused.call('dup3', socket, fd, 0)
  expect(() => reused.build()).toThrow('The result of socket is used more than twice.')
  expect(() => padAnnouncement('x'.repeat(ANSWER_BYTES + 1))).toThrow('The announcement is too long.')
})
