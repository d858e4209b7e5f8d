// Package folders makes the folders of a site on an application server and knows who may do what in
// them: releases are the agent's and read by the site, data, home and tmp are the site's. Data folders
// lie beside the releases and are linked into each.
package folders
