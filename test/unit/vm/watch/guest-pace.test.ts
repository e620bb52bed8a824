import { spawn } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { GuestPace } from '../../../../src/vm/watch/guest-pace.js'

test('one that is busy is so also when it is looked at twice within a moment', async () => {
  const child = spawn(process.execPath, ['-e', 'for (;;) {}'], { stdio: 'ignore' })
  onTestFinished(() => void child.kill('SIGKILL'))
  const pace = new GuestPace(child.pid as number, () => undefined)
  await pace.look()
  await sleep(1000)
  await pace.look()
  for (let look = 0; look < 20; look++) {
    await pace.look()
    expect(pace.describe()).toContain('its processors were busy')
  }
})
