import base from '../../jest.config.mjs';

/** @type {import('jest').Config} */
export default {
  ...base,
  rootDir: '../..',
  testMatch: ['<rootDir>/test/system/**/*.test.ts'],
  testPathIgnorePatterns: ['/node_modules/'],
  // Real networks, real time, several processes a test; most of the time everybody waits.
  testTimeout: 120_000,
  maxWorkers: 2,
};
