import { spawn } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { GuestPace } from '../../../../src/vm/watch/guest-pace.js'

test('a busy guest stays busy when it is read twice in quick succession', async () => {
  const child = spawn(process.execPath, ['-e', 'for (;;) {}'], { stdio: 'ignore' })
  onTestFinished(() => void child.kill('SIGKILL'))
  const pace = new GuestPace(child.pid as number, () => undefined)
  await pace.update()
  await sleep(1000)
  await pace.update()
  for (let look = 0; look < 20; look++) {
    await pace.update()
    expect(pace.describe()).toContain('its CPUs were busy')
  }
})
