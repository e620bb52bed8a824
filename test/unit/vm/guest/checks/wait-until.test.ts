import { expect, test } from 'vitest'
import { SerialConsole } from '../../../../../src/channel/serial/serial-console.js'
import { VMError } from '../../../../../src/errors.js'
import { allOf } from '../../../../../src/vm/guest/checks/combined.js'
import { fileExists } from '../../../../../src/vm/guest/checks/file.js'
import { unitIsActive } from '../../../../../src/vm/guest/checks/systemd.js'
import { waitUntil } from '../../../../../src/vm/guest/checks/wait-until.js'
import type { GuestHandle } from '../../../../../src/vm/guest/guest-handle.js'
import { Invariants } from '../../../../../src/vm/guest/invariants.js'
import { failureOf } from '../../../../support/failure-of.js'

const ANSWER_CHARS = 4 * 1024 * 1024

/** Returns a guest that answers each script of a check with megabytes of control characters, each time others. */
function hostileGuest(): GuestHandle {
  let count = 0
  const answer = async () => {
    const noise = Buffer.alloc(ANSWER_CHARS, '\u0001\u0002').toString()
    return { stdout: `unmet\n${count++}${noise}`, stderr: '', exitCode: 0 }
  }
  const vm = {
    serial: new SerialConsole(),
    lost: new AbortController().signal,
    isRunning: true,
    commandChannel: 'ssh',
    timeFactor: 1,
    ssh: answer,
  } as unknown as GuestHandle
  return Object.assign(vm, { invariants: new Invariants(vm) })
}

test('a guest that answers a check with megabytes makes a message of at most 200 kB, in little time', async () => {
  const checks = ['/a', '/b', '/c'].map((path) => fileExists(path))
  const before = process.cpuUsage()
  const error = await failureOf(waitUntil(hostileGuest(), allOf(checks), { timeoutMs: 2000 }))
  const { user, system } = process.cpuUsage(before)
  expect(error).toBeInstanceOf(VMError)
  expect(error).toMatchObject({ code: 'WAIT_TIMEOUT' })
  expect(error.message.length).toBeLessThan(200_000)
  expect(error.message).toMatch(/Got: {6}the file \/a to exist: \d+\\u0001.* characters omitted/)
  expect((user + system) / 1e6).toBeLessThan(4)
}, 30_000)

test('units with journals of megabytes make a message of at most 200 kB', async () => {
  const vm = hostileGuest()
  const units = Array.from({ length: 10 }, (_, index) => unitIsActive(`unit${index}`))
  const journal = async () => ({ stdout: '\u6f22'.repeat(ANSWER_CHARS / 4), stderr: '', exitCode: 0 })
  const error = await failureOf(
    waitUntil(Object.assign(vm, { ssh: journal }) as GuestHandle, allOf(units), { timeoutMs: 300 }),
  )
  expect(error).toMatchObject({ code: 'WAIT_TIMEOUT' })
  expect(error.evidence.some(({ label }) => label.includes('unit9'))).toBe(true)
  expect(Buffer.byteLength(error.message)).toBeLessThan(200_000)
}, 30_000)

test('an invariant that is broken with megabytes makes a message of at most 50 kB', async () => {
  const vm = hostileGuest()
  const error = await failureOf((vm.invariants as Invariants).add('ready', fileExists('/a')))
  expect(error).toMatchObject({ code: 'INVARIANT_BROKEN' })
  expect(error.message.length).toBeLessThan(50_000)
})
