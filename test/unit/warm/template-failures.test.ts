import { expect, test } from 'vitest'
import { TemplateFailures } from '../../../src/warm/template-failures.js'

test('the next guest retries a template that failed once; later attempts have a backoff', () => {
  let now = 0
  const failures = new TemplateFailures(() => now)
  const note = () => failures.note('key', { reason: 'the agent was silent', isPermanent: false })
  const delays: number[] = []
  for (let failure = 0; failure < 7; failure++) {
    expect(failures.find('key')).toBeUndefined()
    const delay = note()
    delays.push(delay / 1000)
    now += delay - 1
    if (delay > 0) expect(failures.find('key')).toBe('the agent was silent')
    now += 1
  }
  expect(delays).toEqual([0, 30, 60, 120, 240, 480, 600])
  failures.forget('key')
  expect(note()).toBe(0)
})

test('a template that QEMU can never save is not retried', () => {
  let now = 0
  const failures = new TemplateFailures(() => now)
  expect(failures.note('key', { reason: 'a device', isPermanent: true })).toBe(Number.POSITIVE_INFINITY)
  now = 1e12
  expect(failures.find('key')).toBe('a device')
  expect(failures.find('other')).toBeUndefined()
})
