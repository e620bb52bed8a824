import { expect, test } from 'vitest'
import { TemplateRefusals } from '../../../src/warm/refusals.js'

test('a template that could not be made once is tried again by the next guest, then with a backoff', () => {
  let now = 0
  const refusals = new TemplateRefusals(() => now)
  const note = () => refusals.note('key', { reason: 'the agent was silent', isLasting: false })
  const delays: number[] = []
  for (let failure = 0; failure < 7; failure++) {
    expect(refusals.find('key')).toBeUndefined()
    const delay = note()
    delays.push(delay / 1000)
    now += delay - 1
    if (delay > 0) expect(refusals.find('key')).toBe('the agent was silent')
    now += 1
  }
  expect(delays).toEqual([0, 30, 60, 120, 240, 480, 600])
  refusals.forget('key')
  expect(note()).toBe(0)
})

test('a template that QEMU refuses is not tried again', () => {
  let now = 0
  const refusals = new TemplateRefusals(() => now)
  expect(refusals.note('key', { reason: 'a device', isLasting: true })).toBe(Number.POSITIVE_INFINITY)
  now = 1e12
  expect(refusals.find('key')).toBe('a device')
  expect(refusals.find('other')).toBeUndefined()
})
