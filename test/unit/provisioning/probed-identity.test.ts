import { expect, test } from 'vitest'
import { MESSAGE_BYTES } from '../../../src/provisioning/identity-agent/message.js'
import {
  buildClockReading,
  buildProbedMessage,
  findParkFailure,
  parseClockReading,
  parseReport,
  readProbedIdentity,
} from '../../../src/provisioning/probed-identity.js'

const NOTHING = {
  machineIds: [],
  authorizedKeys: [],
  hostKey: undefined,
  sshdPid: undefined,
  hostname: undefined,
  hosts: undefined,
}

test('the report of a guest names the places of its identity', () => {
  const report = [
    'withvm: machine-id /etc/machine-id\r',
    'withvm: hostname /etc/hostname',
    'withvm: hosts /etc/hosts',
    'withvm: authorized-keys /root/.ssh/authorized_keys',
    'withvm: authorized-keys /home/a b/.ssh/authorized_keys',
    'withvm: openssh-key /etc/ssh/ssh_host_ed25519_key',
    'withvm: sshd-pid 345',
    'withvm: parking now\r',
  ].join('\n')
  expect(findParkFailure(report)).toBeUndefined()
  const probed = parseReport(report)
  expect(probed).toEqual({
    machineIds: ['/etc/machine-id'],
    authorizedKeys: ['/root/.ssh/authorized_keys', '/home/a b/.ssh/authorized_keys'],
    hostKey: { path: '/etc/ssh/ssh_host_ed25519_key', format: 'openssh' },
    sshdPid: 345,
    hostname: '/etc/hostname',
    hosts: '/etc/hosts',
  })
  expect(readProbedIdentity(JSON.parse(JSON.stringify(probed)))).toEqual(probed)
})

test('a report with invalid values is not used', () => {
  const report = [
    'withvm: machine-id etc/machine-id',
    `withvm: hostname /${'x'.repeat(200)}`,
    'withvm: hosts /etc/\u0000hosts',
    'withvm: sshd-pid 1',
    'withvm: dropbear-key relative',
  ].join('\n')
  expect(parseReport(report)).toEqual(NOTHING)
  const keys = Array.from({ length: 9 }, (_, index) => `withvm: authorized-keys /home/${index}/keys`)
  expect(parseReport(keys.join('\n')).authorizedKeys).toHaveLength(4)
  expect(readProbedIdentity({ machineIds: 'x', sshdPid: '7', hostKey: { path: '/k', format: 'x' } })).toEqual(
    NOTHING,
  )
  expect(readProbedIdentity(null)).toEqual(NOTHING)
  expect(findParkFailure('withvm: failed no-port\n')).toBe('no-port')
  expect(findParkFailure('bash: sh: command not found')).toBe('incomplete')
})

test('the identity of the longest paths and names fits into two messages', () => {
  const path = (index: number) => `/${String(index).repeat(95)}`
  const { bytes } = buildProbedMessage(
    'x86_64',
    {
      machineIds: [path(0), path(1)],
      authorizedKeys: [path(2), path(3), path(4), path(5)],
      hostKey: { path: path(6), format: 'openssh' },
      sshdPid: 300,
      hostname: path(7),
      hosts: path(8),
    },
    {
      hostname: 'h'.repeat(63),
      machineId: '0'.repeat(32),
      authorizedKey: 'k'.repeat(250),
      hostKey: Buffer.alloc(450, 'h'),
      publicHostKey: 'p'.repeat(100),
    },
  )
  expect(bytes).toHaveLength(2 * MESSAGE_BYTES)
  expect(bytes.toString('latin1').split('k'.repeat(250))).toHaveLength(2)
})

test('the clock of a guest is in the answer of its identity agent', () => {
  const { bytes } = buildClockReading('s390x')
  const answer = Buffer.from(bytes.subarray(0, 64))
  answer.writeBigInt64BE(12n, 8)
  answer.writeBigInt64BE(345_000_000n, 16)
  expect(parseClockReading('s390x', answer)).toBe(12_345)
})
