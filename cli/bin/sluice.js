#!/usr/bin/env node
// Starts the command on Node 24, which runs TypeScript as it is. An older Node goes through the launcher, which brings
// one; a new enough one does not, because it would also look after the packages, and those are there: npm made the link
// to this file.
if (Number(process.versions.node.split('.')[0]) >= 24) {
  await import('../src/main.ts')
} else {
  process.argv.splice(2, 0, 'cli/src/main.ts')
  await import('../../scripts/launch.js')
}
