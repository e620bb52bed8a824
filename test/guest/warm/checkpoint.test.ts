import { expect, test as plain } from 'vitest'
import { launchVM } from 'withvm'
import { test } from 'withvm/vitest'
import { failureOf } from '../../support/failure-of.js'

test.override({ vmScope: 'file', vmOptions: { image: 'tiny', standby: false } })

test('restoring a checkpoint restores RAM and disk, and keeps the clock correct', async ({ vm }) => {
  await vm.ssh`echo one >/root/disk; echo one >/tmp/ram; sync`
  await vm.checkpoint('one')
  await vm.ssh`echo two >/root/disk; rm /tmp/ram; sync`
  await vm.restore('one')
  expect((await vm.ssh`cat /root/disk /tmp/ram`).stdout).toBe('one\none')
  const { stdout } = await vm.exec('date +%s')
  expect(Math.abs(Number(stdout) * 1000 - Date.now())).toBeLessThan(2500)
})

test('several checkpoints can be restored in any order, any number of times', async ({ vm }) => {
  for (const name of ['a', 'b', 'c']) {
    await vm.ssh`echo ${name} >/tmp/now`
    await vm.checkpoint(name)
  }
  for (const name of ['b', 'a', 'c', 'a']) {
    await vm.restore(name)
    expect((await vm.ssh`cat /tmp/now`).stdout).toBe(name)
  }
  expect(vm.checkpoints).toEqual(expect.arrayContaining(['a', 'b', 'c']))
})

test('random numbers differ after each restore of a checkpoint', async ({ vm }) => {
  await vm.checkpoint('dice')
  const rolls = []
  for (let roll = 0; roll < 3; roll++) {
    await vm.restore('dice')
    rolls.push((await vm.exec('head -c 16 /dev/urandom | xxd -p')).stdout)
  }
  expect(new Set(rolls).size).toBe(3)
})

test('a new checkpoint replaces an older one of the same name', async ({ vm }) => {
  await vm.ssh`echo old >/tmp/age`
  await vm.checkpoint('age')
  await vm.ssh`echo new >/tmp/age`
  await vm.checkpoint('age')
  await vm.ssh`rm /tmp/age`
  await vm.restore('age')
  expect((await vm.ssh`cat /tmp/age`).stdout).toBe('new')
})

test('restoring a checkpoint ends running commands, and the console continues', async ({ vm }) => {
  await vm.checkpoint('quiet')
  const running = failureOf(vm.ssh`sleep 1000`)
  const byAgent = failureOf(vm.exec('sleep 1000'))
  await vm.ssh`echo before >/dev/ttyS0`
  await vm.restore('quiet')
  expect((await running).code).toBe('SSH_CLOSED')
  expect((await byAgent).code).toBe('AGENT_UNAVAILABLE')
  await vm.ssh`echo after >/dev/ttyS0`
  await vm.serial.waitFor(/before\s[\s\S]*after/)
})

test('a guest that panicked can be restored to a checkpoint', async ({ vm }) => {
  await vm.ssh`echo alive >/tmp/state`
  await vm.checkpoint('alive')
  await vm.ssh`echo c >/proc/sysrq-trigger`.catch(() => {})
  await expect.poll(() => vm.lost.aborted, { timeout: 20_000 }).toBe(true)
  expect((await failureOf(vm.checkpoint('dead'))).code).toBe('GUEST_PANICKED')
  await vm.restore('alive')
  expect((await vm.ssh`cat /tmp/state`).stdout).toBe('alive')
  expect((await vm.exec('cat /tmp/state')).stdout).toBe('alive')
})

test('invalid and unknown names of checkpoints are errors', async ({ vm }) => {
  await vm.checkpoint('installed')
  expect((await failureOf(vm.checkpoint('a b'))).message).toContain('"a b"')
  const error = await failureOf(vm.restore('instaled'))
  expect(error.code).toBe('INVALID_OPTIONS')
  expect(error.message).toContain("Expected: 'installed'")
})

plain('checkpoints are those of one power-on, and need a disk', async () => {
  await using vm = await launchVM({ image: 'tiny', start: 'cold' })
  await vm.checkpoint('before')
  await vm.powerCut()
  expect((await failureOf(vm.restore('before'))).code).toBe('VM_NOT_RUNNING')
  await vm.start()
  expect(vm.checkpoints).toEqual([])
  expect((await failureOf(vm.restore('before'))).message).toContain("The checkpoint 'before' does not exist.")
  await vm.checkpoint('before')
  await vm.restore('before')
})
