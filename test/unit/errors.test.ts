import { inspect } from 'node:util'
import { expect, test } from 'vitest'
import { CommandError, VMError, vmError } from '../../src/errors.js'

test('control characters in the output of a guest are escaped in an error', () => {
  const error = vmError('SERIAL_TIMEOUT', {
    summary: 'no \u001b[31mprompt\u001b[0m',
    expected: 'a\tb',
    got: '\u009b2J\u0007',
    evidence: [{ label: 'Serial\u001bc', text: 'one\r\ntwo\rthree\u202eeerht\n' }],
    hint: 'see \u0000',
  })
  expect(error.message).toBe(
    [
      'no \\u001b[31mprompt\\u001b[0m',
      '  Expected: a\tb',
      '  Got:      \\u009b2J\\u0007',
      '',
      'Serial\\u001bc:',
      '  | one',
      '  | two\\u000dthree\\u202eeerht',
      '',
      'Fix: see \\u0000',
    ].join('\n'),
  )
  // Test runners also print the properties of an error.
  const { summary, got, evidence, hint } = error.details
  for (const text of [summary, got, hint, evidence?.[0]?.text, error.evidence[0]?.label, error.stack])
    expect(text).not.toMatch(/(?![\n\t])\p{Cc}/u)
})

const MEGABYTES = '\u0001\u0002'.repeat(4 * 1024 * 1024)

test('a text of any length in an error becomes a message of a few hundred kilobytes, with its start and end', () => {
  const text = `start ${MEGABYTES} end`
  const error = vmError('WAIT_TIMEOUT', {
    summary: 'It failed.',
    got: text,
    evidence: [{ label: 'Journal', text }],
    hint: 'Read it.',
  })
  expect(error.message.length).toBeLessThan(200_000)
  expect(error.details.got).toMatch(
    /^start \\u0001\\u0002[^\n]* \(\d+ characters omitted\) [^\n]*\\u0002 end$/,
  )
  expect(error.message).toMatch(/\n {2}\| start .* end\n\nFix: Read it\.$/)
  // Copies of the error have the same texts.
  const copy = error.withEvidence([{ label: 'More', text: 'more' }]).withHint('Retry.')
  expect(copy.details.got).toBe(error.details.got)
  expect(copy.evidence[0]).toEqual(error.evidence[0])
})

test('a test runner prints the evidence of an error once: the properties repeat nothing of the message', () => {
  const outcome = {
    command: 'ls',
    stdout: 'the output',
    stderr: '',
    exitCode: 2,
    signal: undefined,
    durationMs: 5,
  }
  const error = new CommandError('COMMAND_FAILED', {
    outcome,
    summary: 'It failed.',
    evidence: [{ label: 'stdout', text: 'the output' }],
    hint: 'Retry.',
  })
  expect(inspect(error).match(/the output/g)).toHaveLength(1)
  expect(inspect(error).match(/Retry/g)).toHaveLength(1)
  // Vitest prints these properties.
  expect(error.toJSON()).toEqual({
    ...{ name: 'CommandError', message: error.message, code: 'COMMAND_FAILED', kind: 'command' },
    ...{ exitCode: 2, signal: undefined, durationMs: 5 },
  })
  expect(error).toMatchObject({ stdout: 'the output', hint: 'Retry.', details: { summary: 'It failed.' } })
})

test('the cause of an error is safe too, and stays the same error if it was', () => {
  const unsafe = Object.assign(new TypeError('no \u001b[2Jprompt', { cause: new Error('\u009bx') }), {
    code: 'E1',
  })
  const { cause } = vmError('SSH_CLOSED', { summary: 'It failed.', hint: 'Retry.', cause: unsafe })
  expect(cause).toBeInstanceOf(TypeError)
  expect(cause).toMatchObject({ message: 'no \\u001b[2Jprompt', code: 'E1', cause: { message: '\\u009bx' } })
  expect((cause as Error).stack).toMatch(/^TypeError: no \\u001b\[2Jprompt\n {4}at /)
  const safe = new Error('plain\ntext')
  expect(vmError('SSH_CLOSED', { summary: 'It failed.', hint: 'Retry.', cause: safe }).cause).toBe(safe)
  const own = new VMError('SSH_CLOSED', { summary: 'Closed.', hint: 'Retry.' })
  expect(vmError('SSH_CLOSED', { summary: 'It failed.', hint: 'Retry.', cause: own }).cause).toBe(own)
})
