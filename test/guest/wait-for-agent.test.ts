import { expect } from 'vitest'
import { checks } from 'withvm'
import { guestTest } from '../support/guest-test.js'
import { rejection } from '../support/messages.js'

const test = guestTest({ image: 'tiny', ssh: false, ready: 'agent' })

test('a guest without SSH is polled through its agent', async ({ vm }) => {
  await vm.exec('(sleep 0.5; touch /tmp/made; exec nc -l -p 4242) >/dev/null 2>&1 &')
  await vm.waitFor.file('/tmp/made')
  await vm.waitFor.all([
    checks.portListens(4242),
    checks.processRuns('nc'),
    checks.fileExists('/tmp/made', { content: '', owner: 'root:root' }),
    checks.commandPrints('cat /proc/version', /^Linux/),
  ])
  const error = await rejection(vm.waitFor.port(4243, { timeout: '300ms' }))
  expect(error.message).toMatch(/Got: {6}open tcp ports: .*4242/)
})

test('invariants are verified before and after vm.exec()', async ({ vm }) => {
  await vm.exec('touch /tmp/up')
  const up = await vm.always('up', (vm) => vm.exec('test -e /tmp/up'))
  const error = await rejection(vm.exec('rm /tmp/up'))
  expect(error.message).toMatch(
    /^The invariant 'up' broke: detected after `rm \/tmp\/up`\.\n {2}Expected: 'up' to be met\n/,
  )
  up.stop()
  await vm.exec('true')
})
