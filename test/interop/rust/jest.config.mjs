import base from '../../../jest.config.mjs';

/** @type {import('jest').Config} */
export default {
  ...base,
  rootDir: '../../..',
  testMatch: ['<rootDir>/test/interop/rust/**/*.test.ts'],
  testPathIgnorePatterns: ['/node_modules/'],
  // Real sockets and a second process on a possibly busy machine.
  testTimeout: 60_000,
  maxWorkers: 1,
};
