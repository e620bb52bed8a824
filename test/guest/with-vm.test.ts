import { expect, test } from 'vitest'
import { launchVM, withVM } from 'withvm'

test('`withVM()` boots a guest, runs a command and returns the result of the body', async () => {
  const result = await withVM(
    { image: 'tiny' },
    async (vm) => (await vm.ssh`echo ${"it's"} $(uname -s)`).stdout,
  )
  expect(result).toBe("it's Linux")
})

test('`launchVM()` with `await using` ends the guest at the end of its scope', async () => {
  let pid: number
  {
    await using vm = await launchVM({ ready: 'none' })
    pid = vm.pid
    expect(() => process.kill(pid, 0)).not.toThrow()
  }
  expect(() => process.kill(pid, 0)).toThrow('ESRCH')
})

test('the timeline contains the time at which the guest entered each stage', async () => {
  await using vm = await launchVM({ start: 'cold' })
  const stages = vm.timeline.map(({ stage }) => stage)
  expect(stages[0]).toBe('qemu')
  expect(stages.slice(1)).toEqual(expect.arrayContaining(['kernel', 'init', 'login', 'ready']))
  const times = vm.timeline.map(({ atMs }) => atMs)
  expect(times).toEqual([...times].sort((a, b) => a - b))
})
