import { expect, test } from 'vitest'
import { logCommand, Transcript } from '../../../../src/vm/machine/transcript.js'

const mask = (text: string) => text.replace(/^ *\d+\.\d{3}/gm, 'TIME').replace(/after .*$/gm, 'after TIME')

test('a transcript has one truncated record per line, without private keys', () => {
  const log = new Transcript()
  log.add('one\ntwo')
  log.add('-----BEGIN OPENSSH PRIVATE KEY-----\nsecret\n-----END OPENSSH PRIVATE KEY-----\nrest')
  log.add('-----BEGIN PRIVATE KEY-----\nsecret that was cut')
  log.add('x'.repeat(5000))
  expect(mask(log.text)).toBe(
    [
      'TIME one',
      '          two',
      'TIME (a private key)',
      '          rest',
      'TIME (a private key)',
      `TIME ${'x'.repeat(4096)} …`,
      '',
    ].join('\n'),
  )
})

test('a transcript keeps the newest records only', () => {
  const log = new Transcript()
  for (let index = 0; index < 25_000; index++) log.add(String(index))
  const lines = log.text.trimEnd().split('\n')
  expect(lines.length).toBeLessThanOrEqual(10_000)
  expect(lines.at(-1)).toMatch(/ 24999$/)
})

test('a command is recorded with its outcome, even without an exit code', async () => {
  const log = new Transcript()
  await logCommand(log, 'true', async () => ({ exitCode: 0, stdout: '', stderr: 'warned' }))
  const failure = new Error('the guest panicked\nand more')
  await expect(logCommand(log, 'sleep 9', () => Promise.reject(failure))).rejects.toBe(failure)
  expect(mask(log.text)).toBe(
    [
      'TIME $ true',
      'TIME warned',
      '          exit code 0 after TIME',
      'TIME $ sleep 9',
      'TIME the guest panicked after TIME',
      '',
    ].join('\n'),
  )
})
