/* install.h: where the other files of this installation are.
 *
 * Found from the running program's own place, so that a build tree, an installed tree and a copied
 * tree all work without configuration.  The answers are kept until the process ends.
 * Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_INSTALL_H
#define COORDINATOR_INSTALL_H

/* lockstep-worker beside this program. */
const char *install_worker(void);
/* <prefix>/share/lockstep/demo-q8_0.gguf, or the source tree's when that does not exist. */
const char *install_demo_model(void);

#endif
