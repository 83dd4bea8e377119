/* page_document.h: the page as one document, as join.cmake makes it of this folder.  Any thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_PAGE_DOCUMENT_H
#define COORDINATOR_PAGE_DOCUMENT_H

#include <stddef.h>

extern const unsigned char page_document[]; // HTML, UTF-8
extern const size_t page_document_bytes;
extern const char page_policy[]; // its Content-Security-Policy
extern const char page_tag[];    // its entity tag, in quotes

#endif
