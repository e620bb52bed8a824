import { expect, test } from 'vitest'
import { vmError } from '../../src/errors.js'

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
