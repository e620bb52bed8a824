import { expect, test } from 'vitest'
import { CleanupStack } from '../../../src/common/cleanup-stack.js'

test('releases run in reverse order, each once, even if one throws', async () => {
  const order: string[] = []
  const stack = new CleanupStack()
  stack.defer(() => order.push('first'))
  stack.defer(() => Promise.reject(new Error('second')))
  stack.defer(() => order.push('third'))
  await expect(stack.dispose()).rejects.toThrow('second')
  await expect(stack.dispose()).rejects.toThrow('second')
  expect(order).toEqual(['third', 'first'])
})

test('several failed releases are combined into one error', async () => {
  const stack = new CleanupStack()
  for (const name of ['a', 'b']) stack.defer(() => Promise.reject(new Error(name)))
  const error = await stack.dispose().catch((reason: AggregateError) => reason)
  expect((error as AggregateError).errors.map(({ message }) => message)).toEqual(['b', 'a'])
})

test('a resource that is acquired during or after the release is released too', async () => {
  const order: string[] = []
  const stack = new CleanupStack()
  stack.defer(() => stack.defer(() => order.push('during')))
  await stack.dispose()
  stack.defer(() => order.push('after'))
  await Promise.resolve()
  expect(order).toEqual(['during', 'after'])
})
