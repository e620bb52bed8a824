// Prints the failed tests of several runs and the number of tests. Fails if a run did not finish or no guest test passed.
import { existsSync, readFileSync } from 'node:fs'

const files = process.argv.slice(2)
for (const file of files.filter((name) => !existsSync(name))) {
  console.log(`${file} does not exist: that run did not finish.`)
  process.exitCode = 1
}
const tests = files
  .filter((file) => existsSync(file))
  .flatMap((file) => JSON.parse(readFileSync(file, 'utf8')).testResults)
  .flatMap(({ name, assertionResults }) =>
    assertionResults.map(({ status, fullName, failureMessages }) => ({
      status,
      isOfGuest: name.includes('/test/guest/'),
      report: `${name}\n  ${fullName}\n${failureMessages.join('\n').slice(0, 4000).replace(/^/gm, '    ')}`,
    })),
  )
// A CI may show only the end of the output, where the reports of Vitest are missing.
for (const { report } of tests.filter(({ status }) => status === 'failed')) console.log(`FAILED ${report}\n`)
const count = (isWanted) => tests.filter(isWanted).length
const passed = count(({ status }) => status === 'passed')
const failed = count(({ status }) => status === 'failed')
if (count(({ status, isOfGuest }) => isOfGuest && status === 'passed') === 0) {
  console.log('No guest test passed.')
  process.exitCode = 1
}
console.log(`${passed} passed, ${failed} failed, ${tests.length - passed - failed} skipped`)
